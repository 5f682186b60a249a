#include "cli/signals.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include <fcntl.h>
#include <unistd.h>

namespace rchk::cli {

void outlive_signals() {
  constexpr int kLeft[] = {SIGKILL, SIGSTOP,  SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGCHLD,
                           SIGURG,  SIGWINCH, SIGTERM, SIGHUP,  SIGINT,  SIGQUIT, SIGABRT,
                           SIGSEGV, SIGBUS,   SIGFPE,  SIGILL,  SIGTRAP, SIGSYS};
  struct sigaction nothing {};
  nothing.sa_handler = [](int) {};
  nothing.sa_flags = SA_RESTART;
  for (int number = 1; number <= SIGRTMAX; ++number) {
    if (std::find(std::begin(kLeft), std::end(kLeft), number) != std::end(kLeft)) continue;
    struct sigaction known {};
    const bool is_usual = sigaction(number, nullptr, &known) == 0 && known.sa_handler == SIG_DFL;
    if (is_usual) sigaction(number, &nothing, nullptr);
  }
}

bool is_traced_here(pid_t pid) {
  constexpr char kFolder[] = "/proc/", kFile[] = "/status", kTracer[] = "TracerPid:\t";
  char path[48], text[1024];
  std::memcpy(path, kFolder, sizeof(kFolder));
  char* const digits = path + sizeof(kFolder) - 1;
  char* const end = std::to_chars(digits, path + sizeof(path) - sizeof(kFile), pid).ptr;
  std::memcpy(end, kFile, sizeof(kFile));
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const ssize_t got = read(file, text, sizeof(text) - 1);
  close(file);
  if (got <= 0) return false;
  text[got] = 0;
  const char* const tracer = std::strstr(text, kTracer);
  return tracer != nullptr && std::atoi(tracer + sizeof(kTracer) - 1) == getpid();
}

}  // namespace rchk::cli
