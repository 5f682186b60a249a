#pragma once

#include <vector>

#include "gdbserver/protocol/parse.h"
#include "gdbserver/target/target.h"

namespace rchk::protocol {

// The processes of a session as packets name them: one target, or those of its family. One of them
// is the current one, whose memory and registers packets are about.
class Processes {
 public:
  explicit Processes(target::Target& first)
      : first_(first), family_(first.family()), current_(first.process()), target_(&first) {}

  // The target that the session began with; it may be none of its processes any more.
  target::Target& first() { return first_; }
  // Null where there is only one process.
  target::Family* family() { return family_; }

  Tid current() const { return current_; }
  target::Target& target();
  target::StopPointHolder& stop_points();
  // Makes another one the current one. False if the session has none of that pid.
  bool select(Tid pid);

  std::vector<Tid> all();
  bool has(Tid pid);
  std::vector<target::ThreadInfo> threads(Tid pid);
  // The process that a thread-id is about: the one that it names, or else the current one. Where
  // there is only one, it is meant.
  Tid process_of(const ThreadId& id) const {
    return id.pid > 0 && family_ != nullptr ? Tid{id.pid} : current_;
  }
  bool has_thread(Tid pid, Tid thread);
  // Takes one out. REQUIRES: it is not the only one.
  Result<void> detach(Tid pid);

 private:
  target::Target& first_;
  target::Family* family_;
  Tid current_;
  target::Target* target_;  // of current_; null: not asked for yet
};

}  // namespace rchk::protocol
