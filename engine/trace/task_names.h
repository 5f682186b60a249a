#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/types.h"

namespace rchk::trace {

// What a task is called from an event on (its comm, proc_pid_comm(5)): no event says that.
struct TaskName {
  EventNumber from;  // of the whole recording
  Tid tid;
  std::string name;
  bool operator==(const TaskName&) const = default;
};

// The names of a recording's tasks at all times.
class TaskNames {
 public:
  // REQUIRES: in the order of events.
  void add(const TaskName& name);
  // Empty if it is not known. A tid may be another task's later, which then has a name of its own.
  std::string at(EventNumber event, Tid tid) const;

 private:
  struct Change {
    EventNumber from;
    std::string name;
  };
  std::map<int32_t, std::vector<Change>> changes_;  // by tid
};

}  // namespace rchk::trace
