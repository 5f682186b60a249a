#include "engine/tracee/tracee.h"

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include <elf.h>
#include <fcntl.h>
#include <paths.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/cpus.h"
#include "base/descriptors.h"
#include "base/fd.h"

namespace rchk::tracee {

namespace {

static_assert(sizeof(Registers) == sizeof(user_regs_struct));

// A guest whose recorder was killed could not go on: its time stamp counter traps, and there may
// be breakpoints in it.
constexpr unsigned long kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK |
                                   PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXIT |
                                   PTRACE_O_TRACESECCOMP |
                                   static_cast<unsigned long>(PTRACE_O_EXITKILL);
constexpr size_t kLargestXsave = 16384;

template <typename Data>
long trace(int request, pid_t pid, unsigned long address, Data data) {
  return ptrace(static_cast<__ptrace_request>(request), pid, address, data);
}

Failure ptrace_failed(const char* what, pid_t pid) {
  return fail_errno(fmt::format("{} of process {}", what, pid));
}

// What a child that could not start tells its parent.
struct StartFailure {
  int errno_value;
  char step[16];
};

[[noreturn]] void report_and_exit(int pipe, const char* step) {
  StartFailure failure{errno, {}};
  std::strncpy(failure.step, step, sizeof(failure.step) - 1);
  [[maybe_unused]] const auto written = write(pipe, &failure, sizeof(failure));
  _exit(127);
}

Failure cannot_run(const std::string& name, int error) {
  const bool is_here = error == ENOENT && name.find('/') == std::string::npos &&
                       access(fmt::format("./{}", name).c_str(), X_OK) == 0;
  return Failure(Error{ErrorKind::kMisuse, error,
                       is_here ? fmt::format("cannot run {0}, which PATH does not lead to (the one "
                                             "in this folder is ./{0})",
                                             name)
                               : fmt::format("cannot run {}", name)});
}

// Runs in the child between fork and execve.
[[noreturn]] void run_child(const SpawnOptions& options, char* const* argv, char* const* envp,
                            int ready_pipe, int error_pipe) {
  char go;
  while (read(ready_pipe, &go, 1) < 0 && errno == EINTR) {
  }
  if (options.cpu) run_on(0, {&*options.cpu, 1});
  if (!options.randomize_addresses) {
    personality(static_cast<unsigned long>(personality(0xffffffff)) | ADDR_NO_RANDOMIZE);
  }
  // Descriptors that are to become 0, 1 and 2 may be among them: move them out of the way first.
  int moved[3];
  for (int i = 0; i < 3; ++i) {
    moved[i] = fcntl(options.standard_fds[i], F_DUPFD_CLOEXEC, 10);
  }
  for (int i = 0; i < 3; ++i) {
    if (moved[i] < 0) {
      close(i);
    } else {
      dup2(moved[i], i);
    }
  }
  // What rchk changed for itself must not reach the guest.
  restore_descriptor_limit();
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execvpe(argv[0], argv, envp);
  report_and_exit(error_pipe, "execve");
}

std::vector<char*> c_strings(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// A 64-bit system call works from 64-bit code alone.
void enter_long_mode(Registers& registers) {
  constexpr uint64_t kUserCode = 0x33, kUserData = 0x2b;
  if (in_long_mode(registers)) return;
  registers.cs = kUserCode;
  registers.ss = kUserData;
}

}  // namespace

StopStatus decode_wait_status(int status) {
  using Kind = StopStatus::Kind;
  if (WIFEXITED(status)) return {Kind::kExited, WEXITSTATUS(status), false};
  if (WIFSIGNALED(status)) return {Kind::kKilled, WTERMSIG(status), WCOREDUMP(status) != 0};
  const int signal = WSTOPSIG(status);
  const int event = status >> 16;
  if (event == PTRACE_EVENT_STOP) {
    return {signal == SIGTRAP ? Kind::kInterrupted : Kind::kGroupStop, signal, false};
  }
  if (event != 0) return {Kind::kEvent, event, false};
  if (signal == (SIGTRAP | 0x80)) return {Kind::kSyscall, 0, false};
  return {Kind::kSignal, signal, false};
}

Result<std::vector<int>> pin_to_cpu(int cpu) {
  cpu_set_t before;
  if (sched_getaffinity(0, sizeof(before), &before) != 0) return fail_errno("sched_getaffinity");
  std::vector<int> allowed;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &before)) allowed.push_back(i);
  }
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(cpu, &cpus);
  if (sched_setaffinity(0, sizeof(cpus), &cpus) != 0) return fail_errno("sched_setaffinity");
  return allowed;
}

Result<void> find_program(const std::string& name) {
  const auto is_there = [](const std::string& path) { return access(path.c_str(), X_OK) == 0; };
  if (name.find('/') != std::string::npos) {
    return is_there(name) ? Result<void>() : cannot_run(name, errno);
  }
  const char* const search = getenv("PATH");
  std::istringstream folders(search != nullptr ? search : _PATH_DEFPATH);
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (is_there(fmt::format("{}/{}", folder.empty() ? "." : folder, name))) return {};
  }
  return cannot_run(name, ENOENT);
}

Result<Tracee> Tracee::spawn(const SpawnOptions& options) {
  if (options.arguments.empty()) return fail(ErrorKind::kMisuse, "no program was named");
  int ready[2], error[2];
  if (pipe2(ready, O_CLOEXEC) != 0) return fail_errno("pipe");
  FileDescriptor ready_read(ready[0]), ready_write(ready[1]);
  if (pipe2(error, O_CLOEXEC) != 0) return fail_errno("pipe");
  FileDescriptor error_read(error[0]), error_write(error[1]);

  const std::vector<char*> argv = c_strings(options.arguments);
  const std::vector<char*> envp = c_strings(options.environment);
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno("fork");
  if (pid == 0) run_child(options, argv.data(), envp.data(), ready[0], error[1]);

  Tracee tracee(pid);
  error_write.reset();
  if (trace(PTRACE_SEIZE, pid, 0, kOptions) != 0) {
    Error cause{ErrorKind::kMachine, errno,
                "ptrace is not allowed here (see kernel.yama.ptrace_scope, or the container's "
                "seccomp profile and CAP_SYS_PTRACE)"};
    tracee.kill();
    return Failure(cause);
  }
  if (write(ready_write.get(), "g", 1) != 1) return fail_errno("starting the program");
  for (;;) {
    RCHK_TRY_ASSIGN(const StopStatus stop, tracee.wait());
    if (stop.kind == StopStatus::Kind::kEvent && stop.value == kEventExec) break;
    if (stop.is_gone() || (stop.kind == StopStatus::Kind::kEvent && stop.value == kEventExit)) {
      StartFailure failure{};
      if (read(error_read.get(), &failure, sizeof(failure)) != sizeof(failure)) {
        return fail(ErrorKind::kGone, "the program ended before it started");
      }
      return cannot_run(options.arguments[0], failure.errno_value);
    }
    const int signal = stop.kind == StopStatus::Kind::kSignal ? stop.value : 0;
    RCHK_TRY(tracee.resume(ResumeMode::kContinue, signal));
  }
  return tracee;
}

Tracee Tracee::adopt(pid_t pid) { return Tracee(pid); }

Tracee::Tracee(Tracee&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      memory_fd_(std::exchange(other.memory_fd_, -1)),
      expects_signals_(other.expects_signals_),
      passes_from_(other.passes_from_),
      hidden_pc_(other.hidden_pc_) {}

Tracee& Tracee::operator=(Tracee&& other) noexcept {
  if (this != &other) {
    kill();
    pid_ = std::exchange(other.pid_, -1);
    memory_fd_ = std::exchange(other.memory_fd_, -1);
    expects_signals_ = other.expects_signals_;
    passes_from_ = other.passes_from_;
    hidden_pc_ = other.hidden_pc_;
  }
  return *this;
}

Tracee::~Tracee() { kill(); }

void Tracee::kill() {
  const pid_t pid = begin_kill();
  if (pid < 0) return;
  int status = 0;
  while (waitpid(pid, &status, __WALL) == pid || errno == EINTR) {
    if (WIFEXITED(status) || WIFSIGNALED(status)) break;
    // A stop at exit (PTRACE_O_TRACEEXIT) holds the process until it is let go.
    trace(PTRACE_CONT, pid, 0, 0);
  }
}

pid_t Tracee::begin_kill() {
  if (memory_fd_ >= 0) close(memory_fd_);
  memory_fd_ = -1;
  if (pid_ < 0) return -1;
  ::kill(pid_, SIGKILL);
  // The signal does not wake what is stopped on its way out already.
  trace(PTRACE_CONT, pid_, 0, 0);
  return std::exchange(pid_, -1);
}

Result<Registers> Tracee::registers() const {
  Registers registers;
  if (trace(PTRACE_GETREGS, pid_, 0, &registers) != 0) return ptrace_failed("registers", pid_);
  return registers;
}

Result<void> Tracee::set_registers(const Registers& registers) {
  if (trace(PTRACE_SETREGS, pid_, 0, &registers) == 0) return {};
  if (errno != EIO) return ptrace_failed("registers", pid_);
  return set_all_but_bases(registers);
}

// WRFSBASE and WRGSBASE take addresses of the kernel's half, ptrace does not, not even where one is
// there already (arch/x86/kernel/ptrace.c, putreg).
Result<void> Tracee::set_all_but_bases(const Registers& registers) {
  RCHK_TRY_ASSIGN(const Registers now, this->registers());
  const auto set = [this](size_t offset, uint64_t value) {
    return trace(PTRACE_POKEUSER, pid_, offset, value) == 0;
  };
  const bool bases_set =
      (now.fs_base == registers.fs_base || set(offsetof(Registers, fs_base), registers.fs_base)) &&
      (now.gs_base == registers.gs_base || set(offsetof(Registers, gs_base), registers.gs_base));
  if (!bases_set) {
    return fail(
        ErrorKind::kUnsupported,
        fmt::format("the base of FS {:#x} or GS {:#x} cannot be set: ptrace refuses addresses "
                    "of the kernel's half",
                    registers.fs_base, registers.gs_base));
  }
  // The first registers alone, without the bases and the segments behind them.
  Registers first = registers;
  iovec area{&first, offsetof(Registers, fs_base)};
  if (trace(PTRACE_SETREGSET, pid_, NT_PRSTATUS, &area) != 0)
    return ptrace_failed("registers", pid_);
  return {};
}

Result<ExtendedState> Tracee::extended_state() const {
  ExtendedState state(kLargestXsave);
  iovec area{state.data(), state.size()};
  if (trace(PTRACE_GETREGSET, pid_, NT_X86_XSTATE, &area) != 0) {
    return ptrace_failed("vector registers", pid_);
  }
  state.resize(area.iov_len);
  return state;
}

Result<void> Tracee::set_extended_state(const ExtendedState& state) {
  iovec area{const_cast<uint8_t*>(state.data()), state.size()};
  if (trace(PTRACE_SETREGSET, pid_, NT_X86_XSTATE, &area) != 0) {
    return ptrace_failed("vector registers", pid_);
  }
  return {};
}

Result<siginfo_t> Tracee::signal_info() const {
  siginfo_t info;
  if (trace(PTRACE_GETSIGINFO, pid_, 0, &info) != 0) return ptrace_failed("signal", pid_);
  return info;
}

Result<std::vector<siginfo_t>> Tracee::pending_signals() const {
  constexpr int kMostAtOnce = 64;
  std::vector<siginfo_t> infos(kMostAtOnce);
  __ptrace_peeksiginfo_args which{0, 0, kMostAtOnce};
  const long got =
      trace(PTRACE_PEEKSIGINFO, pid_, reinterpret_cast<uintptr_t>(&which), infos.data());
  if (got < 0) return ptrace_failed("pending signals", pid_);
  infos.resize(static_cast<size_t>(got));
  return infos;
}

Result<void> Tracee::set_signal_info(const siginfo_t& info) {
  if (trace(PTRACE_SETSIGINFO, pid_, 0, &info) != 0) return ptrace_failed("signal", pid_);
  return {};
}

Result<uint64_t> Tracee::debug_register(int index) const {
  errno = 0;
  const unsigned long offset = offsetof(struct user, u_debugreg) + sizeof(long) * index;
  const long value = trace(PTRACE_PEEKUSER, pid_, offset, 0);
  if (errno != 0) return ptrace_failed("debug register", pid_);
  return static_cast<uint64_t>(value);
}

Result<void> Tracee::set_debug_register(int index, uint64_t value) {
  const unsigned long offset = offsetof(struct user, u_debugreg) + sizeof(long) * index;
  if (trace(PTRACE_POKEUSER, pid_, offset, value) != 0) {
    return ptrace_failed("debug register", pid_);
  }
  return {};
}

Result<void> Tracee::set_signal_mask(uint64_t mask) {
  if (trace(PTRACE_SETSIGMASK, pid_, sizeof(mask), &mask) != 0) {
    return ptrace_failed("signal mask", pid_);
  }
  return {};
}

Result<uint64_t> Tracee::signal_mask() const {
  uint64_t mask = 0;
  if (trace(PTRACE_GETSIGMASK, pid_, sizeof(mask), &mask) != 0) {
    return ptrace_failed("signal mask", pid_);
  }
  return mask;
}

Result<uint64_t> Tracee::event_message() const {
  unsigned long message = 0;
  if (trace(PTRACE_GETEVENTMSG, pid_, 0, &message) != 0) return ptrace_failed("event", pid_);
  return message;
}

bool Tracee::is_at_call_exit() const {
  // The head of struct ptrace_syscall_info, linux/ptrace.h.
  constexpr auto kGetSyscallInfo = static_cast<__ptrace_request>(0x420e);
  constexpr uint8_t kExit = 2;
  uint8_t op = 0;
  const auto size = reinterpret_cast<void*>(sizeof(op));
  return ::ptrace(kGetSyscallInfo, pid_, size, &op) > 0 && op == kExit;
}

Result<void> Tracee::set_usual_options() {
  if (trace(PTRACE_SETOPTIONS, pid_, 0, kOptions) != 0) return ptrace_failed("options", pid_);
  return {};
}

// Memory can be had without one, more slowly.
static bool is_out_of_descriptors(const Error& error) {
  return error.errno_value == EMFILE || error.errno_value == ENFILE;
}

Result<void> Tracee::open_memory() const {
  if (memory_fd_ >= 0) return {};
  const std::string path = fmt::format("/proc/{}/mem", pid_);
  memory_fd_ = open_descriptor(path.c_str(), O_RDWR);
  if (memory_fd_ < 0) return fail_errno(path);
  return {};
}

void Tracee::forget_memory() {
  if (memory_fd_ >= 0) close(memory_fd_);
  memory_fd_ = -1;
}

// Through /proc/PID/mem rather than process_vm_readv: that pins the pages, and the kernel then
// copies each one that is shared with a fork (docs/notes/dirty-trackers.md); it is also stopped by
// pages that the guest itself may not read.
size_t Tracee::read_memory(GuestAddress address, std::span<uint8_t> bytes) const {
  if (const auto opened = open_memory(); !opened) {
    if (!is_out_of_descriptors(opened.error())) return 0;
    const iovec here{bytes.data(), bytes.size()};
    const iovec there{reinterpret_cast<void*>(address.value), bytes.size()};
    const ssize_t got = process_vm_readv(pid_, &here, 1, &there, 1, 0);
    return got < 0 ? 0 : static_cast<size_t>(got);
  }
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = pread(memory_fd_, bytes.data() + done, bytes.size() - done,
                              static_cast<off_t>(address.value + done));
    if (got <= 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

Result<void> Tracee::write_memory(GuestAddress address, std::span<const uint8_t> bytes) {
  if (const auto opened = open_memory(); !opened) {
    return is_out_of_descriptors(opened.error()) ? poke_memory(address, bytes) : opened;
  }
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put = pwrite(memory_fd_, bytes.data() + done, bytes.size() - done,
                               static_cast<off_t>(address.value + done));
    if (put < 0 && errno == EIO) return poke_memory(address + done, bytes.subspan(done));
    if (put <= 0) return fail_errno(fmt::format("writing memory at {}", address + done));
    done += static_cast<size_t>(put);
  }
  return {};
}

// Slower, but for kernels that keep /proc/PID/mem from writing where the process may not
// (proc_mem.force_override=never, Linux 6.12).
Result<void> Tracee::poke_memory(GuestAddress address, std::span<const uint8_t> bytes) {
  constexpr uint64_t kWordBytes = sizeof(long);
  for (size_t done = 0; done < bytes.size();) {
    const uint64_t at = address.value + done, word_at = at & ~(kWordBytes - 1);
    const size_t first = at - word_at, count = std::min(kWordBytes - first, bytes.size() - done);
    long word = 0;
    const bool whole = count == kWordBytes;
    if (!whole && read_memory({word_at}, {reinterpret_cast<uint8_t*>(&word), kWordBytes}) == 0) {
      return fail_errno(fmt::format("reading memory at {:#x}", word_at), EFAULT);
    }
    std::memcpy(reinterpret_cast<uint8_t*>(&word) + first, bytes.data() + done, count);
    if (trace(PTRACE_POKEDATA, pid_, word_at, word) != 0) {
      return fail_errno(fmt::format("writing memory at {:#x}", word_at));
    }
    done += count;
  }
  return {};
}

Result<void> Tracee::resume(ResumeMode mode, int signal) {
  int request = PTRACE_CONT;
  switch (mode) {
    case ResumeMode::kContinue:
      request = PTRACE_CONT;
      break;
    case ResumeMode::kSyscall:
      request = PTRACE_SYSCALL;
      break;
    case ResumeMode::kSysemu:
      request = PTRACE_SYSEMU;
      break;
    case ResumeMode::kStep:
      request = PTRACE_SINGLESTEP;
      break;
  }
  if (trace(request, pid_, 0, static_cast<unsigned long>(signal)) != 0) {
    return ptrace_failed("resuming", pid_);
  }
  return {};
}

Result<void> Tracee::listen() {
  if (trace(PTRACE_LISTEN, pid_, 0, 0) != 0) return ptrace_failed("group stop", pid_);
  return {};
}

Result<void> Tracee::interrupt() {
  if (trace(PTRACE_INTERRUPT, pid_, 0, 0) != 0) return ptrace_failed("interrupting", pid_);
  return {};
}

// The kernel asks filters behind the stop at a call's entry (kernel/entry/common.c,
// syscall_trace_enter), and they see the registers as they are then.
Result<void> Tracee::resume_call(int signal) {
  if (passes_from_) {
    RCHK_TRY_ASSIGN(Registers now, registers());
    hidden_pc_ = now.pc();
    now.rip = passes_from_->value;
    RCHK_TRY(set_registers(now));
  }
  return resume(ResumeMode::kSyscall, signal);
}

void Tracee::pass_filters_from_birth(GuestAddress from, GuestAddress pc) {
  passes_from_ = from;
  hidden_pc_ = pc;
  show_pc_again();
}

// One that cannot be told has been killed.
void Tracee::show_pc_again() {
  const std::optional<GuestAddress> pc = std::exchange(hidden_pc_, std::nullopt);
  Result<Registers> now = pc ? registers() : Result<Registers>(Registers());
  if (!pc || !now || now->pc() != *passes_from_) return;
  now->rip = pc->value;
  (void)set_registers(*now);
}

void Tracee::note(const StopStatus& stop) {
  if (stop.is_gone()) pid_ = -1;
  if (hidden_pc_ && !stop.is_gone()) show_pc_again();
  // A descriptor of /proc/PID/mem stays with the memory that execve did away with.
  const bool execs = stop.kind == StopStatus::Kind::kEvent && stop.value == kEventExec;
  if (memory_fd_ >= 0 && (stop.is_gone() || execs)) {
    close(memory_fd_);
    memory_fd_ = -1;
  }
}

Result<StopStatus> Tracee::wait(bool give_up_on_signal) {
  int status = 0;
  for (;;) {
    if (waitpid(pid_, &status, __WALL) == pid_) break;
    if (errno != EINTR || give_up_on_signal) {
      if (errno == ECHILD) return fail(ErrorKind::kGone, fmt::format("process {} is gone", pid_));
      return ptrace_failed("waiting", pid_);
    }
  }
  const StopStatus stop = decode_wait_status(status);
  note(stop);
  return stop;
}

Result<std::optional<StopStatus>> Tracee::poll() {
  int status = 0;
  const pid_t got = waitpid(pid_, &status, __WALL | WNOHANG);
  if (got == 0) return std::optional<StopStatus>();
  if (got != pid_) return ptrace_failed("waiting", pid_);
  const StopStatus stop = decode_wait_status(status);
  note(stop);
  return std::optional<StopStatus>(stop);
}

Result<void> Tracee::wait_for_syscall_stop(std::optional<pid_t>* new_process) {
  for (;;) {
    RCHK_TRY_ASSIGN(const StopStatus stop, wait());
    switch (stop.kind) {
      case StopStatus::Kind::kSyscall:
        return {};
      case StopStatus::Kind::kEvent:
        if (stop.value == kEventExit) return fail(ErrorKind::kGone, "the process is exiting");
        if (new_process != nullptr && stop.value != kEventSeccomp) {
          RCHK_TRY_ASSIGN(const uint64_t message, event_message());
          *new_process = static_cast<pid_t>(message);
        }
        break;
      case StopStatus::Kind::kSignal: {
        // A signal stop here is before the call's first instruction ran: send it again later.
        RCHK_TRY_ASSIGN(const siginfo_t info, signal_info());
        if (stop.value == SIGSEGV && info.si_code > 0) {
          // It would come for ever: the gadget is not there.
          return fail(ErrorKind::kGone, "the process faulted before a remote system call");
        }
        // One that no mask keeps back would come again at once.
        if (stop.value == SIGSTOP) {
          stops_later_ = true;
        } else {
          send_to_itself(stop.value, info);
        }
        break;
      }
      case StopStatus::Kind::kGroupStop:
      case StopStatus::Kind::kInterrupted:
        break;
      case StopStatus::Kind::kExited:
      case StopStatus::Kind::kKilled:
        return fail(ErrorKind::kGone, "the process ended");
    }
    RCHK_TRY(resume(ResumeMode::kSyscall));
  }
}

void Tracee::send_to_itself(int signal, siginfo_t info) {
  if (syscall(SYS_rt_tgsigqueueinfo, pid_, pid_, signal, &info) != 0) {
    ::syscall(SYS_tgkill, pid_, pid_, signal);
  }
}

Result<uint64_t> Tracee::block_signals() {
  if (!expects_signals_) return 0;
  RCHK_TRY_ASSIGN(const uint64_t mask, signal_mask());
  RCHK_TRY(set_signal_mask(~0ull));
  return mask;
}

Result<void> Tracee::unblock_signals(uint64_t mask) {
  if (std::exchange(stops_later_, false)) ::syscall(SYS_tgkill, pid_, pid_, SIGSTOP);
  if (!expects_signals_) return {};
  return set_signal_mask(mask);
}

// A thread that stopped at a suppressed system call (kSysemu) first reports the exit of that one.
Result<void> Tracee::run_to_gadget_entry(GuestAddress gadget) {
  constexpr uint64_t kSyscallInstructionBytes = 2;
  for (;;) {
    RCHK_TRY(resume(ResumeMode::kSyscall));
    RCHK_TRY(wait_for_syscall_stop(nullptr));
    RCHK_TRY_ASSIGN(const Registers now, registers());
    if (now.rip == gadget.value + kSyscallInstructionBytes) return {};
  }
}

// The guest may have unmapped it.
Result<void> Tracee::require_gadget(GuestAddress gadget) const {
  uint8_t code[2] = {};
  if (read_memory(gadget, code) == sizeof(code) && code[0] == 0x0f && code[1] == 0x05) return {};
  return fail(
      ErrorKind::kUnsupported,
      fmt::format("process {} has unmapped the page that system calls are made from", pid_));
}

Result<int64_t> Tracee::remote_syscall(GuestAddress gadget, int64_t number,
                                       std::array<uint64_t, 6> arguments) {
  RCHK_TRY(require_gadget(gadget));
  RCHK_TRY_ASSIGN(const Registers saved, registers());
  Registers call = saved;
  call.rip = gadget.value;
  call.rax = static_cast<uint64_t>(number);
  call.orig_rax = ~0ull;  // no system call to restart
  enter_long_mode(call);
  call.rdi = arguments[0];
  call.rsi = arguments[1];
  call.rdx = arguments[2];
  call.r10 = arguments[3];
  call.r8 = arguments[4];
  call.r9 = arguments[5];
  RCHK_TRY(set_registers(call));
  RCHK_TRY_ASSIGN(const uint64_t mask, block_signals());
  RCHK_TRY(run_to_gadget_entry(gadget));
  RCHK_TRY(resume_call());
  RCHK_TRY(wait_for_syscall_stop(nullptr));
  RCHK_TRY_ASSIGN(const Registers after, registers());
  RCHK_TRY(unblock_signals(mask));
  RCHK_TRY(set_registers(saved));
  return static_cast<int64_t>(after.rax);
}

Result<Tracee> Tracee::fork(GuestAddress gadget, Kinship kinship) {
  RCHK_TRY(require_gadget(gadget));
  RCHK_TRY_ASSIGN(const Registers saved, registers());
  Registers call = saved;
  call.rip = gadget.value;
  call.rax = SYS_clone;
  call.orig_rax = ~0ull;
  enter_long_mode(call);
  // CLONE_PARENT brings the parent's children's exit signal along (kernel/fork.c); without it
  // there is none.
  call.rdi = kinship == Kinship::kSibling ? CLONE_PARENT : 0;
  call.rsi = call.rdx = call.r10 = call.r8 = 0;
  RCHK_TRY(set_registers(call));
  RCHK_TRY_ASSIGN(const uint64_t mask, block_signals());
  std::optional<pid_t> new_pid;
  RCHK_TRY(run_to_gadget_entry(gadget));
  RCHK_TRY(resume_call());
  RCHK_TRY(wait_for_syscall_stop(&new_pid));
  RCHK_TRY_ASSIGN(const Registers after, registers());
  RCHK_TRY(unblock_signals(mask));
  RCHK_TRY(set_registers(saved));
  if (!new_pid) {
    return fail_errno("fork of the guest", static_cast<int>(-static_cast<int64_t>(after.rax)));
  }
  Tracee child(*new_pid);
  child.expects_signals_ = expects_signals_;
  child.passes_from_ = passes_from_;
  RCHK_TRY(child.wait());
  RCHK_TRY(child.set_usual_options());
  RCHK_TRY(child.set_registers(saved));
  return child;
}

Result<void> Tracee::suspend_filters() {
  constexpr unsigned long kSuspend = 1ul << 21;  // PTRACE_O_SUSPEND_SECCOMP, linux/ptrace.h
  if (trace(PTRACE_SETOPTIONS, pid_, 0, kOptions | kSuspend) == 0) return {};
  return fail_errno("suspending the filters of a process");
}

void Tracee::forget() {
  forget_memory();
  pid_ = -1;
}

Result<void> Tracee::detach(int signal) {
  if (trace(PTRACE_DETACH, pid_, 0, static_cast<unsigned long>(signal)) != 0) {
    return ptrace_failed("detaching", pid_);
  }
  if (memory_fd_ >= 0) close(memory_fd_);
  memory_fd_ = -1;
  pid_ = -1;
  return {};
}

}  // namespace rchk::tracee
