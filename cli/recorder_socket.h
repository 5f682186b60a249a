#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace rchk::cli {

// How `rchk save` finds recorders that run, and talks to them: each listens on a socket whose name
// is in Linux's abstract namespace (unix(7)), and is gone when the recorder is. What either side
// says ends where it shuts its direction down.
Result<FileDescriptor> listen_as_recorder();

struct RunningRecorder {
  int32_t pid = 0;        // as this process sees it
  int32_t guest = 0;      // of the program
  std::string recording;  // absolute
  std::string socket;     // its name
  uint64_t started = 0;   // in the kernel's ticks since boot
  bool answers = true;    // if not (it is stopped, say), only its pid is known
};
// Those that belong to this user. Waits for each that does not answer, but not for long.
std::vector<RunningRecorder> running_recorders();
// Asks one for something.
Result<std::string> ask_recorder(const std::string& socket, std::string_view request);

Result<std::string> receive_all(const FileDescriptor& peer);
Result<void> send_all(const FileDescriptor& peer, std::string_view text);

}  // namespace rchk::cli
