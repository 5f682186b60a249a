#include <cerrno>
#include <cstdio>

#include <fmt/format.h>

#include "cli/commands.h"

namespace rchk::cli {

int report(const Error& error) {
  fmt::print(stderr, "rchk: {}\n", error.message());
  if (error.kind == ErrorKind::kSystem && error.errno_value == EMFILE) {
    fmt::print(stderr, "rchk: it needs a descriptor for each process, and some: see ulimit -n\n");
    return kMachineStatus;
  }
  switch (error.kind) {
    case ErrorKind::kMisuse:
    case ErrorKind::kUnsupported:
      return kMisuseStatus;
    case ErrorKind::kBadTrace:
      return kBadRecordingStatus;
    case ErrorKind::kDivergence:
      return kDivergenceStatus;
    case ErrorKind::kMachine:
      return kMachineStatus;
    case ErrorKind::kSystem:
    case ErrorKind::kGone:
      break;
  }
  return kInternalStatus;
}

}  // namespace rchk::cli
