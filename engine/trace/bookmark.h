#pragma once

#include <string>

#include "base/types.h"

namespace rchk::trace {

// A named point of a recording.
struct Bookmark {
  std::string name;
  int32_t process = 0;  // the pid of the one whose history it is in
  EventNumber event;    // of the whole recording
  uint64_t instructions = 0;
  uint64_t rep_iterations = 0;
  bool operator==(const Bookmark&) const = default;
};

}  // namespace rchk::trace
