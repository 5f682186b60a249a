#include "engine/record/process.h"

#include <string_view>

#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sys/personality.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "base/fd.h"

namespace rchk::record {

namespace {

SignalSet field(const std::string& status, const char* name) {
  const size_t at = status.find(name);
  if (at == std::string::npos) return 0;
  return std::strtoull(status.c_str() + at + std::strlen(name), nullptr, 16);
}

// Its pids in all namespaces, the innermost last: "NSpid:\t4711\t1".
std::vector<pid_t> numbers_in(const std::string& status) {
  constexpr std::string_view kName = "\nNSpid:";
  std::vector<pid_t> numbers;
  const size_t at = status.find(kName);
  if (at == std::string::npos) return numbers;
  const char* next = status.c_str() + at + kName.size();
  while (*next == '\t') {
    char* end = nullptr;
    numbers.push_back(static_cast<pid_t>(std::strtol(next, &end, 10)));
    next = end;
  }
  return numbers;
}

bool tells_of_first(const std::string& status) {
  const std::vector<pid_t> numbers = numbers_in(status);
  return !numbers.empty() && numbers.back() == 1;
}

}  // namespace

Result<std::vector<uint8_t>> read_proc_file(pid_t pid, const std::string& name) {
  const std::string path = fmt::format("/proc/{}/{}", pid, name);
  const FileDescriptor file(open_descriptor(path.c_str(), O_RDONLY));
  if (!file.is_open()) return fail_errno(path);
  std::vector<uint8_t> contents;
  uint8_t buffer[4096];
  for (;;) {
    const ssize_t got = read(file.get(), buffer, sizeof(buffer));
    if (got < 0) return fail_errno(path);
    if (got == 0) return contents;
    contents.insert(contents.end(), buffer, buffer + got);
  }
}

std::string stat_fields(pid_t pid) {
  // That of /proc/PID adds up the times of all threads.
  const auto contents = read_proc_file(pid, fmt::format("task/{}/stat", pid));
  if (!contents) return {};
  const std::string text(contents->begin(), contents->end());
  const size_t name_end = text.rfind(')');
  return name_end != std::string::npos && name_end + 2 < text.size() ? text.substr(name_end + 2)
                                                                     : std::string();
}

char state_in_kernel(pid_t tid) {
  constexpr char kDead = 'X';
  const std::string fields = stat_fields(tid);
  return fields.empty() ? kDead : fields.front();
}

std::optional<uint64_t> run_time_ns(pid_t tid) {
  const auto contents = read_proc_file(tid, "schedstat");
  if (!contents) return std::nullopt;
  const std::string text(contents->begin(), contents->end());
  uint64_t run_ns = 0;
  if (std::sscanf(text.c_str(), "%" SCNu64, &run_ns) != 1) return std::nullopt;
  return run_ns;
}

std::string read_proc_link(pid_t pid, const std::string& name) {
  const std::string path = fmt::format("/proc/{}/{}", pid, name);
  char target[4096];
  const ssize_t size = readlink(path.c_str(), target, sizeof(target));
  return size > 0 ? std::string(target, static_cast<size_t>(size)) : std::string();
}

Result<SignalStatus> read_signal_status(pid_t pid) {
  RCHK_TRY_ASSIGN(const std::vector<uint8_t> contents, read_proc_file(pid, "status"));
  const std::string text(contents.begin(), contents.end());
  SignalStatus status;
  status.pending = field(text, "\nSigPnd:") | field(text, "\nShdPnd:");
  status.blocked = field(text, "\nSigBlk:");
  status.ignored = field(text, "\nSigIgn:");
  status.caught = field(text, "\nSigCgt:");
  // The first process of a pid namespace has no default actions (kernel/signal.c, get_signal).
  if (tells_of_first(text)) status.ignored = ~SignalSet{0};
  return status;
}

bool read_implies_exec(pid_t tid) {
  const auto contents = read_proc_file(tid, "personality");
  if (!contents) return false;
  const std::string text(contents->begin(), contents->end());
  return (std::strtoul(text.c_str(), nullptr, 16) & READ_IMPLIES_EXEC) != 0;
}

std::vector<pid_t> numbers_in_namespaces(pid_t tid) {
  const auto status = read_proc_file(tid, "status");
  return status ? numbers_in(std::string(status->begin(), status->end())) : std::vector<pid_t>();
}

bool children_are_beside(pid_t tid) {
  return read_proc_link(tid, "ns/pid") == read_proc_link(tid, "ns/pid_for_children");
}

bool is_first_of_namespace(pid_t pid) {
  const auto status = read_proc_file(pid, "status");
  return status && tells_of_first(std::string(status->begin(), status->end()));
}

SignalAction action_of(int signal, const SignalStatus& status) {
  if ((status.caught & signal_bit(signal)) != 0) return SignalAction::kHandler;
  if (signal == SIGSTOP) return SignalAction::kStop;
  if (signal == SIGKILL) return SignalAction::kFatal;
  if ((status.ignored & signal_bit(signal)) != 0) return SignalAction::kIgnore;
  switch (signal) {
    case SIGCHLD:
    case SIGCONT:
    case SIGURG:
    case SIGWINCH:
      return SignalAction::kIgnore;
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
      return SignalAction::kStop;
    default:
      return SignalAction::kFatal;
  }
}

std::string signal_name(int signal) {
  const char* abbreviation = sigabbrev_np(signal);
  if (abbreviation == nullptr) return fmt::format("signal {}", signal);
  return fmt::format("SIG{}", abbreviation);
}

bool is_filtered(pid_t pid) {
  const auto status = read_proc_file(pid, "status");
  if (!status) return true;
  const std::string_view text(reinterpret_cast<const char*>(status->data()), status->size());
  return text.find("\nSeccomp:\t0\n") == std::string_view::npos;
}

}  // namespace rchk::record
