#include <csignal>
#include <cstring>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cpus.h"
#include "engine/tracee/tracee.h"

namespace rchk::tracee {

namespace {

// The end of user addresses with four-level page tables (Documentation/arch/x86/x86_64/mm.rst).
constexpr uint64_t kUserEnd = 0x7ffffffff000;
constexpr uint64_t kLowestMapping = 0x1000;

// The kernel writes to a registered rseq area at each return to user space and kills a process
// whose area is gone (kernel/rseq.c), so that the child must take leave of glibc's.
void unregister_rseq() {
  if (__rseq_size == 0) return;
  constexpr unsigned kAreaBytes = 32;
  auto* area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
  syscall(SYS_rseq, area, kAreaBytes, RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
}

[[noreturn]] void become_empty(GuestAddress gadget, std::optional<int> cpu, pid_t tracer) {
  // Until it is traced nothing else ends it with its tracer.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != tracer) _exit(4);
  setsid();
  if (cpu) run_on(0, {&*cpu, 1});
  sigset_t blocked;
  sigfillset(&blocked);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}) sigdelset(&blocked, fault);
  sigprocmask(SIG_SETMASK, &blocked, nullptr);
  syscall(SYS_close_range, 0u, ~0u, 0u);
  unregister_rseq();
  void* page =
      mmap(reinterpret_cast<void*>(gadget.value), kPageSize, PROT_READ | PROT_WRITE | PROT_EXEC,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (page == MAP_FAILED) _exit(1);
  const uint8_t code[] = {0x0f, 0x05, 0xcc};  // syscall; int3
  std::memcpy(page, code, sizeof(code));
  if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) _exit(2);
  syscall(SYS_kill, syscall(SYS_getpid), SIGSTOP);
  _exit(3);
}

}  // namespace

Result<Tracee> Tracee::spawn_empty(GuestAddress gadget, std::optional<int> cpu) {
  const pid_t tracer = getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno("fork");
  if (pid == 0) become_empty(gadget, cpu, tracer);
  Tracee tracee(pid);
  RCHK_TRY_ASSIGN(const StopStatus stop, tracee.wait());
  if (stop.is_gone()) {
    return fail(ErrorKind::kMachine,
                stop.value == 2
                    ? "ptrace is not allowed here"
                    : fmt::format("address {} cannot be mapped (vm.mmap_min_addr)", gadget));
  }
  tracee.expect_no_signals();
  RCHK_TRY(tracee.set_usual_options());
  const GuestAddress above = gadget + kPageSize;
  const AddressRange everything[] = {{{kLowestMapping}, gadget}, {above, {kUserEnd}}};
  for (const AddressRange& range : everything) {
    RCHK_TRY_ASSIGN(const int64_t result,
                    tracee.remote_syscall(gadget, SYS_munmap, {range.begin.value, range.size()}));
    if (result != 0) return fail_errno("emptying a process", static_cast<int>(-result));
  }
  return tracee;
}

}  // namespace rchk::tracee
