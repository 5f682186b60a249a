#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "engine/trace/event.h"
#include "engine/trace/source.h"

namespace rchk::trace {

// An index into ProcessTable::processes(): by the order in which they began. A pid may come again.
struct ProcessIndex {
  size_t value = 0;
  auto operator<=>(const ProcessIndex&) const = default;
};

enum class ProcessOrigin : uint8_t { kFirst, kFork, kVfork };

struct Program {
  EventNumber event;  // its ExecEvent
  std::string executable;
  std::vector<std::string> arguments;  // as far as they are in the event, and not too many
  // The process whose memory the task left by it, if it used another's.
  std::optional<ProcessIndex> left;
  bool operator==(const Program&) const = default;
};

struct ProcessEnd {
  EventNumber event;
  ExitReason reason = ExitReason::kExited;
  int32_t status = 0;  // as ExitEvent has it
  bool core_dumped = false;
  bool operator==(const ProcessEnd&) const = default;
};

struct Process {
  int32_t pid = 0;
  ProcessOrigin origin = ProcessOrigin::kFirst;
  std::optional<ProcessIndex> parent;
  bool is_resumed = false;  // what came before its first event was dropped
  // Whose memory it got a copy of, or used: the parent, unless that was in another's as well.
  std::optional<ProcessIndex> memory_from;
  Tid made_by;  // the parent's task
  // That task's last event before this one began: of a fork, the call that made it.
  std::optional<EventNumber> made_behind;
  // Of a child of vfork: the event with which the call that made it returned to the parent.
  std::optional<EventNumber> maker_returned;
  EventNumber begin;
  std::vector<Program> programs;  // that it executed
  std::optional<ProcessEnd> end;
  uint64_t events = 0;
  uint64_t tasks = 1;  // that it ever had
  bool operator==(const Process&) const = default;
};

// The words that a program was called with, as far as they are in its memory at its start.
std::vector<std::string> arguments_of(const ExecEvent& exec);

// The processes of a recording, told from its events.
class ProcessTable {
 public:
  ProcessTable() = default;
  // Whose an address space is, by its number.
  using Spaces = std::unordered_map<uint32_t, ProcessIndex>;
  // Of a recording of so many events, where all is known; takes no more in.
  ProcessTable(std::vector<Process> processes, Spaces spaces, uint64_t event_count);
  // Where the recording does not know them by itself, goes through all of it.
  static Result<ProcessTable> of(EventSource& source);

  // Whose an event is.
  struct Owners {
    // The process in whose memory it happened or whose it begins; its child of vfork may have done
    // it.
    ProcessIndex memory;
    // The process whose memory the task leaves by this ExecEvent, if it used another's.
    std::optional<ProcessIndex> left;
  };
  // Takes the next event in. kBadTrace if it cannot be true: of a task that does not exist, in
  // memory that nobody began. Stops there.
  Result<Owners> add(const Event& event);

  const std::vector<Process>& processes() const { return processes_; }
  const Process& process(ProcessIndex index) const { return processes_[index.value]; }
  // An address space is of one process for all of its life: Owners::memory of all events in it.
  const Spaces& spaces() const { return spaces_; }
  uint64_t event_count() const { return event_count_; }
  // The latest one of that pid; or the first whose program has that file name.
  std::optional<ProcessIndex> find(int32_t pid) const;
  std::optional<ProcessIndex> find(const std::string& program) const;

 private:
  struct Task {
    ProcessIndex process;
    uint32_t space = 0;
    EventNumber last{};                  // its last event
    std::optional<ProcessIndex> made{};  // a child of vfork that its call has not returned from yet
  };

  Result<Owners> add_exec(const Event& event, const ExecEvent& exec);
  Owners add_resumed(const Event& event, const ExecEvent& exec);
  Result<Owners> add_spawn(const Event& event, const SpawnEvent& spawn);
  Result<Owners> add_other(const Event& event);
  void note_event_of_task(const Event& event);
  void end_task(const Event& event, const TaskEndEvent& end);
  ProcessIndex begin_process(int32_t pid, ProcessOrigin origin);
  Failure bad(std::string_view what) const;

  std::vector<Process> processes_;
  std::unordered_map<int32_t, Task> tasks_;  // by tid, those that live
  Spaces spaces_;
  std::unordered_map<int32_t, ProcessIndex> by_pid_;  // the latest
  uint64_t event_count_ = 0;
};

}  // namespace rchk::trace
