#include "engine/tracee/machine_probe.h"

#include <cerrno>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <asm/prctl.h>
#include <cpuid.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include <fmt/format.h>

#include "snapshot/memory_reader.h"

namespace rchk::tracee {
namespace {

// Nothing when the feature works, or why it does not.
using Reason = std::optional<std::string>;

std::string errno_text(int number) { return std::generic_category().message(number); }

// A child that a probe runs. In it: 0 for success, or the errno to exit with. It may only make
// calls that are safe after fork in a process with threads.
using Body = int (*)();

pid_t start(Body body) {
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 1);
    _exit(body() & 0xff);
  }
  return pid;
}

int wait_for(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR) {
  }
  return status;
}

void end(pid_t pid) {
  kill(pid, SIGKILL);
  wait_for(pid);
}

// Runs a body that needs no tracer, and expects it to exit with 0.
Reason run_alone(Body body) {
  const pid_t pid = start(body);
  if (pid < 0) return fmt::format("fork: {}", errno_text(errno));
  const int status = wait_for(pid);
  if (WIFSIGNALED(status)) return fmt::format("the child died by signal {}", WTERMSIG(status));
  if (WEXITSTATUS(status) != 0) return errno_text(WEXITSTATUS(status));
  return std::nullopt;
}

// Runs a body that must die by `number`.
Reason expect_signal(Body body, int number) {
  const pid_t pid = start(body);
  if (pid < 0) return fmt::format("fork: {}", errno_text(errno));
  const int status = wait_for(pid);
  if (WIFSIGNALED(status) && WTERMSIG(status) == number) return std::nullopt;
  if (WIFSIGNALED(status)) return fmt::format("the child died by signal {}", WTERMSIG(status));
  if (WEXITSTATUS(status) == 0) return "the instruction did not trap";
  return errno_text(WEXITSTATUS(status));
}

// A traced child, stopped by its own SIGSTOP.
int traced_getpid() {
  if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) return errno;
  raise(SIGSTOP);
  return syscall(SYS_getpid) > 0 ? 0 : ENOSYS;
}

volatile uint64_t g_probed = 0;

int traced_store() {
  if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) return errno;
  raise(SIGSTOP);
  g_probed = 1;
  return 0;
}

// A store that a debug register watches stops the child (SDM vol. 3, 17.2.4).
Reason try_watchpoint() {
  constexpr uint64_t kWatchEightBytesWritten = 0x90001;
  const pid_t pid = start(traced_store);
  if (pid < 0) return fmt::format("fork: {}", errno_text(errno));
  if (!WIFSTOPPED(wait_for(pid))) return "the child cannot be traced";
  const auto set = [pid](size_t number, uint64_t value) {
    const size_t place = offsetof(user, u_debugreg) + number * sizeof(value);
    return ptrace(PTRACE_POKEUSER, pid, place, value) == 0;
  };
  Reason reason;
  if (!set(0, reinterpret_cast<uint64_t>(&g_probed)) || !set(7, kWatchEightBytesWritten) ||
      ptrace(PTRACE_CONT, pid, nullptr, nullptr) != 0) {
    reason = errno_text(errno);
  } else {
    const int status = wait_for(pid);
    if (WIFEXITED(status)) return "a watched store did not trap";
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP) reason = "another stop came";
  }
  end(pid);
  return reason;
}

Reason try_ptrace() {
  const pid_t pid = start(traced_getpid);
  if (pid < 0) return fmt::format("fork: {}", errno_text(errno));
  const int status = wait_for(pid);
  if (WIFEXITED(status)) return fmt::format("PTRACE_TRACEME: {}", errno_text(WEXITSTATUS(status)));
  user_regs_struct registers = {};
  Reason reason;
  if (ptrace(PTRACE_GETREGS, pid, nullptr, &registers) != 0) {
    reason = fmt::format("PTRACE_GETREGS: {}", errno_text(errno));
  } else if (registers.rip == 0) {
    reason = "a tracee's registers read as zero";
  }
  end(pid);
  return reason;
}

// PTRACE_SYSEMU stops at the call and leaves it out; the tracer supplies the result.
Reason try_sysemu() {
  const pid_t pid = start(traced_getpid);
  if (pid < 0) return fmt::format("fork: {}", errno_text(errno));
  if (!WIFSTOPPED(wait_for(pid))) return "the child cannot be traced";
  user_regs_struct registers = {};
  if (ptrace(PTRACE_SYSEMU, pid, nullptr, nullptr) != 0) {
    const Reason reason = errno_text(errno);
    end(pid);
    return reason;
  }
  const int status = wait_for(pid);
  if (!WIFSTOPPED(status)) return "the child went on without a stop";
  Reason reason;
  if (ptrace(PTRACE_GETREGS, pid, nullptr, &registers) != 0 ||
      registers.orig_rax != static_cast<unsigned long long>(SYS_getpid)) {
    reason = "the stop was not at the system call";
  }
  end(pid);
  return reason;
}

// A filter that fails getppid in a way that no kernel does.
int filtered_call() {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {std::size(code), code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return errno;
  return syscall(SYS_getppid) == -1 && errno == EXDEV ? 0 : ENOSYS;
}

int faulting_cpuid() {
  prctl(PR_SET_DUMPABLE, 0);  // it is to die without a core
  if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) != 0) return errno;
  unsigned a, b, c, d;
  __cpuid(0, a, b, c, d);
  return 0;
}

int trapping_tsc() {
  prctl(PR_SET_DUMPABLE, 0);
  if (prctl(PR_SET_TSC, PR_TSC_SIGSEGV) != 0) return errno;
  const volatile uint64_t now = __rdtsc();
  return now == 0 ? EINVAL : 0;
}

int drawing_seed() {
  prctl(PR_SET_DUMPABLE, 0);
  uint64_t seed = 0;
  asm volatile("rdseed %0" : "=r"(seed)::"cc");
  return 0;
}

int fixed_layout() {
  const int old = personality(0xffffffff);
  if (old < 0 || personality(static_cast<unsigned>(old) | ADDR_NO_RANDOMIZE) < 0) return errno;
  return (personality(0xffffffff) & ADDR_NO_RANDOMIZE) != 0 ? 0 : EPERM;
}

int shared_memory_file() {
  const int file = static_cast<int>(syscall(SYS_memfd_create, "rchk probe", MFD_CLOEXEC));
  if (file < 0) return errno;
  if (ftruncate(file, 4096) != 0) return errno;
  // A code cache is mapped executable.
  void* code = mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, file, 0);
  return code == MAP_FAILED ? errno : 0;
}

int sleep_until_killed() {
  while (true) pause();
}

Reason try_reading_memory() {
  static const uint64_t kPattern = 0x1122334455667788;
  const pid_t pid = start(sleep_until_killed);
  if (pid < 0) return fmt::format("fork: {}", errno_text(errno));
  uint64_t found = 0;
  Reason reason;
  const auto reader = snapshot::MemoryReader::open(pid);
  if (!reader) {
    reason = reader.error().message();
  } else {
    const auto read = reader->read_exactly({reinterpret_cast<uint64_t>(&kPattern)},
                                           {reinterpret_cast<uint8_t*>(&found), sizeof(found)});
    if (!read) {
      reason = read.error().message();
    } else if (found != kPattern) {
      reason = "other bytes were read than are there";
    }
  }
  end(pid);
  return reason;
}

// Yama restricts attaching to processes that are no children (Documentation/admin-guide/LSM).
Reason try_attaching() {
  std::ifstream file("/proc/sys/kernel/yama/ptrace_scope");
  int scope = 0;
  if (!(file >> scope) || scope == 0) return std::nullopt;
  return fmt::format("kernel.yama.ptrace_scope is {}", scope);
}

struct Probe {
  std::string_view name;
  Reason (*run)();
  std::string_view lost;
  std::string_view remedy;
};

constexpr std::string_view kSandboxRemedy =
    "allow it in the sandbox (docker: --cap-add SYS_PTRACE --security-opt seccomp=unconfined)";

const Probe kProbes[] = {
    {"ptrace", try_ptrace, "everything: nothing can be recorded or replayed", kSandboxRemedy},
    {"ptrace sysemu", try_sysemu, "replay: a puppet's system calls cannot be caught",
     "a virtual machine or sandbox with full ptrace"},
    {"seccomp filter", [] { return run_alone(filtered_call); },
     "fast recording, and the lock around puppets", "a kernel with CONFIG_SECCOMP_FILTER"},
    {"cpuid faulting", [] { return expect_signal(faulting_cpuid, SIGSEGV); },
     "hiding processor features from the guest; recordings may not replay on other processors",
     "a processor with CPUID faulting (Intel since Ivy Bridge, AMD since Zen 5), and a "
     "hypervisor that passes it on"},
    {"tsc trapping", [] { return expect_signal(trapping_tsc, SIGSEGV); },
     "recording the time stamp counter where code that no file names reads it; elsewhere that code "
     "is patched",
     "a kernel that allows PR_SET_TSC, and a hypervisor that heeds it"},
    {"hardware watchpoints", try_watchpoint,
     "live watchpoints without a search of what the program did: it runs ahead by 0.1 s each time",
     "a hypervisor that passes debug registers on"},
    {"memory of other processes", try_reading_memory, "everything: guests cannot be inspected",
     kSandboxRemedy},
    {"memfd", [] { return run_alone(shared_memory_file); }, "replay: the code cache has no place",
     "a sandbox that allows memfd_create and executable maps"},
    {"fixed address layout", [] { return run_alone(fixed_layout); },
     "equal addresses in two recordings of one program", kSandboxRemedy},
    {"attaching to running processes", try_attaching,
     "attaching to a process that rchk did not start, unless it is root",
     "sysctl kernel.yama.ptrace_scope=0"},
};

}  // namespace

bool executes_rdseed() { return !run_alone(drawing_seed); }

bool watchpoints_trap() { return !try_watchpoint(); }

bool tsc_traps() { return !expect_signal(trapping_tsc, SIGSEGV); }

std::vector<ProbeResult> probe_machine() {
  std::vector<ProbeResult> results;
  for (const Probe& probe : kProbes) {
    const Reason reason = probe.run();
    ProbeResult result;
    result.name = probe.name;
    result.works = !reason;
    result.detail = reason.value_or("tried, works");
    result.lost = probe.lost;
    if (reason) result.remedy = probe.remedy;
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace rchk::tracee
