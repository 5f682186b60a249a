#pragma once

#include "base/result.h"

namespace rchk::replay {

// Whether an error comes of what is replayed, and not of the process that does it.
inline bool is_of_recording(const Error& error) {
  return error.kind == ErrorKind::kDivergence || error.kind == ErrorKind::kBadTrace ||
         error.kind == ErrorKind::kUnsupported;
}

}  // namespace rchk::replay
