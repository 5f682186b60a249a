#include "cli/guest_streams.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/serve.h"

namespace rchk::cli {

namespace {

bool is_socket(int fd) {
  struct stat status {};
  return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

// A regular file or a device that somebody redirected a stream to.
bool is_redirected(int fd) {
  struct stat status {};
  return fstat(fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISCHR(status.st_mode));
}

FileDescriptor duplicate(int fd) { return FileDescriptor(fcntl(fd, F_DUPFD_CLOEXEC, 3)); }

// The terminal of the debugger that started this process: gdb puts the stub into a session of
// its own, so that /dev/tty does not name it.
FileDescriptor debugger_terminal() {
  pid_t pid = getppid();
  for (int generation = 0; generation < 2 && pid > 1; ++generation) {
    FileDescriptor terminal(
        open(fmt::format("/proc/{}/fd/0", pid).c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (terminal.is_open() && isatty(terminal.get()) != 0) return terminal;
    // A shell may stand between.
    FILE* status = fopen(fmt::format("/proc/{}/stat", pid).c_str(), "r");
    if (status == nullptr) break;
    int parent = 0;
    const int fields = fscanf(status, "%*d (%*[^)]) %*c %d", &parent);
    fclose(status);
    if (fields != 1) break;
    pid = parent;
  }
  return {};
}

Result<FileDescriptor> open_named(const std::string& path, int flags) {
  FileDescriptor file(open(path.c_str(), flags | O_CLOEXEC, 0666));
  if (!file.is_open()) return Failure(Error{ErrorKind::kMisuse, errno, path});
  return file;
}

}  // namespace

Result<GuestStreams> GuestStreams::sort_out(const LiveOptions& options) {
  GuestStreams streams;
  const bool input_is_guests = !is_socket(STDIN_FILENO) && is_socket(STDOUT_FILENO);
  const bool output_is_guests = is_socket(STDIN_FILENO) && is_redirected(STDOUT_FILENO);
  const bool error_is_guests = is_redirected(STDERR_FILENO) && isatty(STDERR_FILENO) == 0;
  if (input_is_guests) streams.guest[0] = duplicate(STDIN_FILENO);
  if (output_is_guests) streams.guest[1] = duplicate(STDOUT_FILENO);
  if (error_is_guests) streams.guest[2] = duplicate(STDERR_FILENO);
  constexpr int kWrite = O_WRONLY | O_CREAT | O_TRUNC;
  const std::optional<std::string>* named[] = {&options.standard_input, &options.standard_output,
                                               &options.standard_error};
  for (int i = 0; i < 3; ++i) {
    if (!*named[i]) continue;
    RCHK_TRY_ASSIGN(streams.guest[static_cast<size_t>(i)],
                    open_named(**named[i], i == 0 ? O_RDONLY : kWrite));
  }

  if (options.port) {
    for (int fd = 0; fd < 3; ++fd) {
      FileDescriptor& stream = streams.guest[static_cast<size_t>(fd)];
      if (!stream.is_open()) stream = duplicate(fd);
    }
    RCHK_TRY_ASSIGN(streams.transport, await_debugger(*options.port));
    return streams;
  }
  const FileDescriptor terminal = debugger_terminal();
  FileDescriptor pipe_write;
  for (size_t i = 0; i < 3; ++i) {
    FileDescriptor& stream = streams.guest[i];
    if (stream.is_open()) continue;
    if (terminal.is_open()) {
      stream = duplicate(terminal.get());
    } else if (i == 0) {
      RCHK_TRY_ASSIGN(stream, open_named("/dev/null", O_RDONLY));
    } else {
      if (!pipe_write.is_open()) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe");
        streams.output_pipe = FileDescriptor(ends[0]);
        pipe_write = FileDescriptor(ends[1]);
        fcntl(ends[0], F_SETFL, O_NONBLOCK);
        constexpr int kPipeBytes = 1 << 20;  // the guest waits when it is full
        fcntl(ends[1], F_SETPIPE_SZ, kPipeBytes);
      }
      stream = duplicate(pipe_write.get());
    }
  }

  if (input_is_guests || output_is_guests) {
    streams.transport = std::make_unique<protocol::DescriptorTransport>(
        duplicate(input_is_guests ? STDOUT_FILENO : STDIN_FILENO));
    FileDescriptor nothing(open("/dev/null", O_RDWR | O_CLOEXEC));
    for (int fd = 0; fd < 3; ++fd) dup2(nothing.get(), fd);
  } else {
    RCHK_TRY_ASSIGN(streams.transport, protocol::take_standard_streams());
  }
  return streams;
}

std::string GuestStreams::take_output() {
  std::string text;
  if (!output_pipe.is_open()) return text;
  char buffer[16384];
  for (;;) {
    const ssize_t got = read(output_pipe.get(), buffer, sizeof(buffer));
    if (got <= 0) return text;
    text.append(buffer, static_cast<size_t>(got));
  }
}

}  // namespace rchk::cli
