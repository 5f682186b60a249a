#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/types.h"

namespace rchk::timeline {

// A process that the timeline's own made.
struct Fork {
  int32_t pid = 0;  // of the child
  bool vfork = false;
  Tid maker;  // the task that made it
};

// What a timeline knows of processes that its own has to do with. Events are numbered as in the
// whole recording: to know what they are to the timeline's source would be to look for each of
// them.
struct Kin {
  // A stretch in which a task is in memory that is another process's: behind the events [begin,
  // end).
  struct Guest {
    Tid task;
    Tid maker;
    EventNumber begin, end;
  };

  std::map<EventNumber, Fork> forks;        // by the event behind which the child is there
  std::map<EventNumber, Fork> vforks_done;  // by the event with which such a call returned
  std::vector<Guest> guests;                // children of vfork in memory of the timeline's process
  // Of a child of vfork: behind the events [borrows, returns) the memory is its parent's, and only
  // the task of its own pid is its own.
  std::optional<EventNumber> borrows, returns;
  // The event with which the process ended, where others went on in the memory that it used.
  std::optional<EventNumber> end;

  // Whether no other process was ever in the same memory.
  bool is_alone() const { return guests.empty() && !borrows; }
  // Whether a task that is there behind `event` is the process's own.
  bool is_own(Tid task, EventNumber event, int32_t process) const {
    const bool borrowed = borrows && *borrows <= event && (!returns || event < *returns);
    return borrowed ? task.value == process : guest(task, event) == nullptr;
  }
  const Guest* guest(Tid task, EventNumber event) const {
    const auto found = std::find_if(guests.begin(), guests.end(), [&](const Guest& one) {
      return one.task == task && one.begin <= event && event < one.end;
    });
    return found == guests.end() ? nullptr : &*found;
  }
  // Whether other processes' tasks are there anywhere behind the events [first, last].
  bool has_guests(EventNumber first, EventNumber last) const {
    if (borrows && *borrows <= last && (!returns || first < *returns)) return true;
    return std::any_of(guests.begin(), guests.end(),
                       [&](const Guest& one) { return one.begin <= last && first < one.end; });
  }
};

}  // namespace rchk::timeline
