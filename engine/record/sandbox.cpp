// The guest's own seccomp filters (docs/notes/seccomp.md).

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

namespace nr = syscalls::nr;
using syscalls::Call;
using syscalls::Sandbox;
using syscalls::Verdict;

constexpr uint64_t kMostErrno = 4095;

// What /proc/TID/status says behind `name`, a number to this base.
uint64_t status_number(pid_t tid, std::string_view name, int base) {
  const auto contents = read_proc_file(tid, "status");
  if (!contents) return 0;
  const std::string text(contents->begin(), contents->end());
  const size_t at = text.find(fmt::format("\n{}:", name));
  if (at == std::string::npos) return 0;
  return std::strtoull(text.c_str() + at + name.size() + 2, nullptr, base);
}

bool may_set_filters(pid_t tid) {
  return status_number(tid, "NoNewPrivs", 10) == 1 ||
         (status_number(tid, "CapEff", 16) >> CAP_SYS_ADMIN & 1) != 0;
}

// The program that `address`, a struct sock_fprog, names; or the errno.
std::optional<int> read_program(GuestAddress address, const GuestReader& memory,
                                std::vector<sock_filter>& program) {
  sock_fprog header{};
  const auto bytes_of = [](auto* object, size_t count) {
    return std::span<uint8_t>(reinterpret_cast<uint8_t*>(object), count * sizeof(*object));
  };
  if (memory.read(address, bytes_of(&header, 1)) != sizeof(header)) return EFAULT;
  if (header.len == 0 || header.len > BPF_MAXINSNS) return EINVAL;
  program.resize(header.len);
  const GuestAddress from{reinterpret_cast<uint64_t>(header.filter)};
  const auto wanted = bytes_of(program.data(), program.size());
  if (memory.read(from, wanted) != wanted.size()) return EFAULT;
  return std::nullopt;
}

bool is_known_action(uint32_t action) {
  switch (action) {
    case SECCOMP_RET_KILL_PROCESS:
    case SECCOMP_RET_KILL_THREAD:
    case SECCOMP_RET_TRAP:
    case SECCOMP_RET_ERRNO:
    case SECCOMP_RET_TRACE:
    case SECCOMP_RET_LOG:
    case SECCOMP_RET_ALLOW:
      return true;
    default:
      return false;
  }
}

}  // namespace

// seccomp(2), and prctl(2) where it is about the same.
std::optional<int64_t> Recorder::Impl::answer_about_sandbox(const Call& call) {
  const auto& arguments = call.arguments;
  if (call.number == nr::prctl && arguments[0] == PR_GET_SECCOMP) {
    return static_cast<int64_t>(task_->sandbox.mode());
  }
  if (call.number == nr::prctl && arguments[0] == PR_SET_SECCOMP) {
    if (arguments[1] == SECCOMP_MODE_STRICT) return set_strict();
    if (arguments[1] == SECCOMP_MODE_FILTER) return add_filter(0, {arguments[2]});
    return -EINVAL;
  }
  if (call.number != nr::seccomp) return std::nullopt;
  const auto flags = static_cast<uint32_t>(arguments[1]);
  switch (static_cast<uint32_t>(arguments[0])) {
    case SECCOMP_SET_MODE_STRICT:
      return flags != 0 || arguments[2] != 0 ? -EINVAL : set_strict();
    case SECCOMP_SET_MODE_FILTER:
      return add_filter(flags, {arguments[2]});
    case SECCOMP_GET_ACTION_AVAIL: {
      uint32_t action = 0;
      const std::span<uint8_t> bytes{reinterpret_cast<uint8_t*>(&action), sizeof(action)};
      if (flags != 0) return -EINVAL;
      if (task_->tracee.read_memory({arguments[2]}, bytes) != sizeof(action)) return -EFAULT;
      return is_known_action(action) ? 0 : -EOPNOTSUPP;
    }
    default:
      return -EINVAL;
  }
}

int64_t Recorder::Impl::set_strict() { return task_->sandbox.set_strict() ? 0 : -EINVAL; }

int64_t Recorder::Impl::add_filter(uint32_t flags, GuestAddress address) {
  // Not SECCOMP_FILTER_FLAG_NEW_LISTENER: others would answer calls.
  constexpr uint32_t kSynchronizes = SECCOMP_FILTER_FLAG_TSYNC, kAnswersEsrch = 1 << 4;
  constexpr uint32_t kKnown =
      kSynchronizes | kAnswersEsrch | SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  if ((flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) != 0) {
    say_once("A seccomp filter that another program answers for is refused with EINVAL.");
  }
  if ((flags & ~kKnown) != 0) return -EINVAL;
  std::vector<sock_filter> program;
  if (const auto error = read_program(address, GuestReader(task_->tracee), program)) {
    return -*error;
  }
  if (!may_set_filters(task_->tid)) return -EACCES;
  const bool all = (flags & kSynchronizes) != 0;
  for (const auto& [tid, other] : tasks_) {
    if (!all || other->process != task_->process || other->sandbox.is_part_of(task_->sandbox)) {
      continue;
    }
    return (flags & kAnswersEsrch) != 0 ? -ESRCH : tid;
  }
  if (const int error = task_->sandbox.add(std::move(program))) return -error;
  for (const auto& [tid, other] : tasks_) {
    if (all && other->process == task_->process) other->sandbox = task_->sandbox;
  }
  return 0;
}

Verdict Recorder::Impl::judge(const Call& call, const Registers& registers) const {
  if (task_->sandbox.mode() == Sandbox::Mode::kNone) return {};
  seccomp_data data{};
  data.nr = call.number;
  data.arch = AUDIT_ARCH_X86_64;
  data.instruction_pointer = registers.rip;
  std::copy(call.arguments.begin(), call.arguments.end(), data.args);
  return task_->sandbox.judge(data);
}

// Keeps a call from being made. `registers`: at its entry.
Result<void> Recorder::Impl::carry_out(const Verdict& verdict, PendingCall& call, const Call& made,
                                       Registers registers, const RunLimits& limits) {
  if (verdict.action == SECCOMP_RET_KILL_THREAD && live_tasks_of(*task_->process) > 1) {
    // It ends alone.
    registers.orig_rax = static_cast<uint64_t>(nr::exit);
    registers.rdi = 0;
    RCHK_TRY(task_->tracee.set_registers(registers));
    return prepare_call(call, syscalls::call_of(nr::exit, registers), registers, limits);
  }
  call.entered_ns = now_ns();
  call.entry = syscalls::at_entry(made, GuestReader(task_->tracee));
  const bool strict = task_->sandbox.mode() == Sandbox::Mode::kStrict;
  switch (verdict.action) {
    case SECCOMP_RET_ERRNO:
      call.answer = -static_cast<int64_t>(std::min<uint64_t>(verdict.data, kMostErrno));
      break;
    case SECCOMP_RET_TRACE:  // the tracer is not the guest's
      call.answer = -ENOSYS;
      break;
    case SECCOMP_RET_TRAP:
    default: {
      call.answer = made.number;  // its registers are as they were
      siginfo_t info{};
      info.si_signo = strict ? SIGKILL : SIGSYS;
      info.si_errno = verdict.data;
      info.si_code = kSeccompCode;
      info.si_call_addr = reinterpret_cast<void*>(registers.rip);
      info.si_syscall = made.number;
      info.si_arch = AUDIT_ARCH_X86_64;
      call.trap = info;
      call.trap_kills = verdict.action != SECCOMP_RET_TRAP;
    }
  }
  registers.orig_rax = kNoCall;
  return task_->tracee.set_registers(registers);
}

// Raises the signal of a call that was kept from being made, as the kernel forces it
// (kernel/signal.c, force_sig_info_to_task). task_ is at the stop behind the call.
Result<void> Recorder::Impl::raise_trap(const PendingCall& call) {
  if (!call.trap) return {};
  const int signal = call.trap->si_signo;
  if (signal != SIGKILL) {
    RCHK_TRY_ASSIGN(const SignalStatus status, read_signal_status(task_->tid));
    const uint64_t bit = signal_bit(signal);
    const bool blocked = (status.blocked & bit) != 0;
    const bool kills = blocked || call.trap_kills || (status.ignored & bit) != 0;
    if (kills && ((status.ignored | status.caught) & bit) != 0) RCHK_TRY(set_handler(signal, 0));
    if (blocked) {
      RCHK_TRY_ASSIGN(const uint64_t mask, task_->tracee.signal_mask());
      RCHK_TRY(task_->tracee.set_signal_mask(mask & ~bit));
    }
    task_->held[signal].push_back(*call.trap);
  }
  return send_marker(signal);
}

}  // namespace rchk::record
