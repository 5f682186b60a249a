#include "engine/trace/annotate.h"

#include <cerrno>
#include <tuple>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fd.h"
#include "engine/trace/container.h"
#include "engine/trace/output.h"

namespace rchk::trace {

Result<void> append_chunk(const std::string& path, ChunkHeader header, ByteView raw) {
  FileDescriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!file.is_open()) return fail_errno(path);
  while (flock(file.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return fail_errno(fmt::format("locking {}", path));
  }
  FileDescriptor again(fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
  if (!again.is_open()) return fail_errno(path);
  RCHK_TRY_ASSIGN(const Container closed, Container::open(std::move(again), path));
  if (!closed.is_complete()) {
    return fail(ErrorKind::kUnsupported, fmt::format("{}: the recording was not closed", path));
  }
  Output output(std::move(file), path, closed.recording_id());
  output.go_on_behind(closed);
  const uint64_t end = output.offset();
  const auto added = [&]() -> Result<void> {
    RCHK_TRY(output.chunk(header, raw));
    return output.end();
  };
  Result<void> done = added();
  // With a part of it the file would count as not closed. What failed says more than that this
  // does.
  if (!done) std::ignore = truncate(path.c_str(), static_cast<off_t>(end));
  return done;
}

}  // namespace rchk::trace
