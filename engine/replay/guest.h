#pragma once

#include <map>
#include <memory>
#include <vector>

#include "base/registers.h"
#include "base/types.h"
#include "engine/replay/puppet.h"

namespace rchk::replay {

// A task that waits for its turn.
struct WaitingTask {
  Registers registers;
  ExtendedState extended_state;  // empty: not known
  bool is_amid = false;          // as Guest::is_amid
};

// A guest at one point of its history: a puppet and what it does not hold itself. All tasks that
// use its memory take turns on the puppet's one kernel thread: one of them runs, with its vector
// registers in that thread, the others are values.
struct Guest {
  std::unique_ptr<Puppet> puppet;
  Registers registers;  // of the task that runs
  Position position;
  // The task that runs: whose instructions follow, as far as the log tells.
  Tid tid;
  int32_t pid = 0;     // of the process
  uint32_t space = 0;  // the recording's number of the memory
  std::map<Tid, WaitingTask> others{};
  // The task that runs stands amid an instruction: a system call or a string instruction that has
  // begun already.
  bool is_amid = false;
  // Where memory may have early what a call stores whose event comes later: the guest was made of a
  // page snapshot that was taken meanwhile. All else is as in a guest that came from the start.
  std::vector<AddressRange> early{};
  // Where it stands right behind an event: whether memory has what other processes have stored
  // since, and what was there before.
  bool has_stores_of_others = false;
  std::vector<trace::MemoryWrite> stored_over{};

  // The same guest at the same point, in a process of its own.
  Result<Guest> fork(Sharing sharing = Sharing::kCopy) const;
  bool has_task(Tid task) const { return task == tid || others.contains(task); }
  // Makes another task the one that runs. REQUIRES: has_task(next).
  Result<void> switch_to(Tid next);
  // Takes a task away; if it is the one that runs, another one does then.
  // REQUIRES: has_task(task), and it is not the only one.
  Result<void> remove_task(Tid task);
};

}  // namespace rchk::replay
