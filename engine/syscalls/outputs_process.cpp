// Outputs of calls on processes, threads and keys that the table's words cannot describe.

#include <algorithm>
#include <cerrno>

#include <asm/prctl.h>
#include <fmt/format.h>
#include <linux/futex.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <sys/prctl.h>

#include "engine/syscalls/walk.h"

namespace rchk::syscalls {
namespace {

constexpr uint64_t kTidBytes = 4;
constexpr int kGetAuxv = 0x41555856;      // PR_GET_AUXV, 6.4
constexpr int kSchedCoreGet = 0;          // PR_SCHED_CORE_GET
constexpr uint64_t kPkeyQueryBytes = 48;  // struct keyctl_pkey_query

void words_for_new_thread(Walk& walk, uint64_t flags, GuestAddress pidfd, GuestAddress parent,
                          GuestAddress child) {
  // The parent's words are stored before a late error can end the call (kernel/fork.c,
  // copy_process stores the pidfd; kernel_clone the tid).
  if ((flags & CLONE_PIDFD) != 0) walk.wrote(pidfd, kTidBytes);
  if ((flags & CLONE_PARENT_SETTID) != 0) walk.wrote(parent, kTidBytes);
  if ((flags & CLONE_CHILD_SETTID) != 0 && (flags & CLONE_VM) != 0) walk.wrote(child, kTidBytes);
}

}  // namespace

void clone_outputs(Walk& walk) {
  // clone has one argument for both the pidfd and the parent's tid.
  words_for_new_thread(walk, walk.argument(0), walk.pointer(2), walk.pointer(2), walk.pointer(3));
}

void clone3_outputs(Walk& walk) {
  struct CloneArguments {  // the head of struct clone_args
    uint64_t flags;
    uint64_t pidfd;
    uint64_t child_tid;
    uint64_t parent_tid;
  };
  const auto arguments = walk.before<CloneArguments>(walk.pointer(0));
  if (!arguments) return;
  words_for_new_thread(walk, arguments->flags, {arguments->pidfd}, {arguments->parent_tid},
                       {arguments->child_tid});
}

// kernel/sys.c, sys_prctl.
void prctl_outputs(Walk& walk) {
  const auto stored = [&walk](size_t index, uint64_t bytes) {
    if (walk.may_have_stored()) walk.wrote(walk.pointer(index), bytes);
  };
  const auto option = static_cast<int>(walk.argument(0));
  switch (option) {
    case PR_GET_PDEATHSIG:
    case PR_GET_UNALIGN:
    case PR_GET_FPEMU:
    case PR_GET_FPEXC:
    case PR_GET_ENDIAN:
    case PR_GET_TSC:
    case PR_GET_CHILD_SUBREAPER:
      return stored(1, 4);
    case PR_GET_TID_ADDRESS:
      return stored(1, 8);
    case PR_GET_NAME:
      return stored(1, 16);
    case kGetAuxv: {
      const uint64_t bytes = walk.succeeded() ? static_cast<uint64_t>(walk.result()) : 0;
      return walk.filled(walk.pointer(1), bytes, std::min(walk.argument(2), kPageSize));
    }
    case PR_SET_MM:
      if (walk.argument(1) == PR_SET_MM_MAP_SIZE) stored(2, 4);
      return;
    case PR_SCHED_CORE:
      if (walk.argument(1) == kSchedCoreGet) stored(4, 8);
      return;
    case PR_SET_PDEATHSIG:
    case PR_GET_DUMPABLE:
    case PR_SET_DUMPABLE:
    case PR_GET_KEEPCAPS:
    case PR_SET_KEEPCAPS:
    case PR_GET_TIMING:
    case PR_SET_TIMING:
    case PR_SET_NAME:
    case PR_GET_SECCOMP:
    case PR_SET_SECCOMP:
    case PR_CAPBSET_READ:
    case PR_CAPBSET_DROP:
    case PR_SET_TSC:
    case PR_GET_SECUREBITS:
    case PR_SET_SECUREBITS:
    case PR_SET_TIMERSLACK:
    case PR_GET_TIMERSLACK:
    case PR_TASK_PERF_EVENTS_DISABLE:
    case PR_TASK_PERF_EVENTS_ENABLE:
    case PR_MCE_KILL:
    case PR_MCE_KILL_GET:
    case PR_SET_PTRACER:
    case PR_SET_CHILD_SUBREAPER:
    case PR_SET_NO_NEW_PRIVS:
    case PR_GET_NO_NEW_PRIVS:
    case PR_SET_THP_DISABLE:
    case PR_GET_THP_DISABLE:
    case PR_CAP_AMBIENT:
    case PR_GET_SPECULATION_CTRL:
    case PR_SET_SPECULATION_CTRL:
    case PR_SET_IO_FLUSHER:
    case PR_GET_IO_FLUSHER:
    case PR_SET_SYSCALL_USER_DISPATCH:
    case PR_SET_VMA:
    case 65:  // PR_SET_MDWE
    case 66:  // PR_GET_MDWE
    case 67:  // PR_SET_MEMORY_MERGE
    case 68:  // PR_GET_MEMORY_MERGE
    case 77:  // PR_TIMER_CREATE_RESTORE_IDS
    case 78:  // PR_FUTEX_HASH
      return;
    default:
      if (walk.succeeded()) walk.doubt(fmt::format("prctl option {}", option));
  }
}

// arch/x86/kernel/process_64.c, do_arch_prctl_64, and process.c.
void arch_prctl_outputs(Walk& walk) {
  switch (static_cast<int>(walk.argument(0))) {
    case ARCH_GET_FS:
    case ARCH_GET_GS:
    case 0x1021:  // ARCH_GET_XCOMP_SUPP
    case 0x1022:  // ARCH_GET_XCOMP_PERM
    case 0x1024:  // ARCH_GET_XCOMP_GUEST_PERM
    case 0x4001:  // ARCH_GET_UNTAG_MASK
    case 0x4003:  // ARCH_GET_MAX_TAG_BITS
    case 0x5005:  // ARCH_SHSTK_STATUS
      if (walk.may_have_stored()) walk.wrote(walk.pointer(1), 8);
      return;
    case ARCH_SET_FS:
    case ARCH_SET_GS:
    case ARCH_GET_CPUID:
    case ARCH_SET_CPUID:
    case 0x1023:  // ARCH_REQ_XCOMP_PERM
    case 0x1025:  // ARCH_REQ_XCOMP_GUEST_PERM
    case 0x4002:  // ARCH_ENABLE_TAGGED_ADDR
      return;
    default:
      if (walk.succeeded()) walk.doubt(fmt::format("arch_prctl code {:#x}", walk.argument(0)));
  }
}

// security/keys/keyctl.c, sys_keyctl.
void keyctl_outputs(Walk& walk) {
  const uint64_t bytes = walk.succeeded() ? static_cast<uint64_t>(walk.result()) : 0;
  const auto option = static_cast<int>(walk.argument(0));
  switch (option) {
    case KEYCTL_DESCRIBE:
    case KEYCTL_READ:
    case KEYCTL_GET_SECURITY:
    case KEYCTL_DH_COMPUTE:
      return walk.filled(walk.pointer(2), bytes, walk.argument(3));
    case KEYCTL_CAPABILITIES:
      // What is not used of the buffer is cleared.
      if (walk.may_have_stored()) walk.wrote(walk.pointer(1), walk.argument(2));
      return;
    case KEYCTL_PKEY_QUERY:
      if (walk.may_have_stored()) walk.wrote(walk.pointer(4), kPkeyQueryBytes);
      return;
    case KEYCTL_PKEY_ENCRYPT:
    case KEYCTL_PKEY_DECRYPT:
    case KEYCTL_PKEY_SIGN: {
      // struct keyctl_pkey_params: key, length in, length out, ...
      const auto room = walk.before<uint32_t>(walk.pointer(1) + 8);
      if (room) walk.filled(walk.pointer(4), bytes, *room);
      return;
    }
    default:
      if (option > KEYCTL_CAPABILITIES + 1 && walk.succeeded()) {  // + 1: KEYCTL_WATCH_KEY
        walk.doubt(fmt::format("keyctl option {}", option));
      }
  }
}

// The kernel writes futex words itself for priority inheritance, where an error can come after
// FUTEX_WAITERS was set, and for FUTEX_WAKE_OP (kernel/futex/pi.c, waitwake.c).
void futex_outputs(Walk& walk) {
  constexpr uint64_t kWordBytes = 4;
  switch (static_cast<int>(walk.argument(1)) & FUTEX_CMD_MASK) {
    case FUTEX_WAKE_OP:
      return walk.wrote(walk.pointer(4), kWordBytes);
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2:
    case FUTEX_UNLOCK_PI:
    case FUTEX_TRYLOCK_PI:
      return walk.wrote(walk.pointer(0), kWordBytes);
    case FUTEX_WAIT_REQUEUE_PI:
    case FUTEX_CMP_REQUEUE_PI:
      walk.wrote(walk.pointer(0), kWordBytes);
      return walk.wrote(walk.pointer(4), kWordBytes);
    default:
      return;
  }
}

void restart_outputs(Walk& walk) {
  // With nothing to restart the kernel says EINTR and has written nothing.
  if (walk.result() != -EINTR) walk.doubt("restart_syscall without the interrupted call");
}

}  // namespace rchk::syscalls
