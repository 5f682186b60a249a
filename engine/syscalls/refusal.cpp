// Sub-functions of calls that must not reach the kernel, though the call may.

#include <cerrno>

#include <sys/mman.h>
#include <sys/prctl.h>

#include "engine/syscalls/syscall.h"

namespace rchk::syscalls {
namespace {

// asm/prctl.h
constexpr uint64_t kSetCpuid = 0x1012;      // ARCH_SET_CPUID
constexpr uint64_t kMapVdsoFirst = 0x2001;  // ARCH_MAP_VDSO_X32, _32, _64
constexpr uint64_t kMapVdsoLast = 0x2003;
constexpr uint64_t kTaggedFirst = 0x4001;  // linear address masking
constexpr uint64_t kTaggedLast = 0x4003;
constexpr uint64_t kShadowStackFirst = 0x5001;
constexpr uint64_t kShadowStackLast = 0x5005;
constexpr int kGuardInstall = 102;  // MADV_GUARD_INSTALL, 6.13
constexpr int kGuardRemove = 103;
constexpr uint32_t kNewUserfaultfd = 0xaa00;  // USERFAULTFD_IOC_NEW, of /dev/userfaultfd

constexpr uint64_t kMapDroppable = 0x08;  // MAP_DROPPABLE, 6.11

std::optional<int> advice_refusal(int advice) {
  switch (advice) {
    // Pages vanish whenever the kernel wants. Programs probe for it and do without, as they
    // must before 4.5.
    case MADV_FREE:
    // Faults that no mapping shows.
    case kGuardInstall:
    case kGuardRemove:
      return EINVAL;
    default:
      return std::nullopt;
  }
}

// What a process may advise another; since 6.13 itself anything (mm/madvise.c), which older
// kernels answer with EINVAL.
std::optional<int> process_advice_refusal(int advice) {
  constexpr int kCollapse = 25;  // MADV_COLLAPSE
  const bool harmless = advice == MADV_COLD || advice == MADV_PAGEOUT || advice == MADV_WILLNEED ||
                        advice == kCollapse;
  if (!harmless) return EINVAL;
  return std::nullopt;
}

std::optional<int> prctl_refusal(const Call& call) {
  switch (static_cast<int>(call.arguments[0])) {
    case PR_SET_SECCOMP:                // the recorder has answered it (docs/notes/seccomp.md)
    case PR_SET_SYSCALL_USER_DISPATCH:  // calls would become signals before a tracer sees them
    case PR_SET_TSC:                    // the recorder has it set
      return EINVAL;
    case PR_SET_MM:
      // Moves the program break and the like. PR_SET_MM_MAP_SIZE only tells a size.
      if (call.arguments[1] == PR_SET_MM_MAP_SIZE) return std::nullopt;
      return EPERM;
    default:
      return std::nullopt;
  }
}

std::optional<int> arch_prctl_refusal(uint64_t code) {
  if (code == kSetCpuid) return ENODEV;  // as on a processor that cannot fault CPUID
  const bool map_vdso = code >= kMapVdsoFirst && code <= kMapVdsoLast;
  const bool tagged = code >= kTaggedFirst && code <= kTaggedLast;
  const bool shadow_stack = code >= kShadowStackFirst && code <= kShadowStackLast;
  if (map_vdso || tagged || shadow_stack) return EINVAL;
  return std::nullopt;
}

}  // namespace

std::optional<int> refusal(const Call& call) {
  const Syscall* row = find(call.number);
  if (row == nullptr) return std::nullopt;
  if (row->call_class == Class::kRefused) return row->refused_errno;
  switch (call.number) {
    case nr::mmap:
      // As MADV_FREE. Older kernels do not know such a type either.
      if ((call.arguments[3] & MAP_TYPE) == kMapDroppable) return EINVAL;
      return std::nullopt;
    case nr::madvise:
      return advice_refusal(static_cast<int>(call.arguments[2]));
    case nr::process_madvise:
      return process_advice_refusal(static_cast<int>(call.arguments[3]));
    case nr::prctl:
      return prctl_refusal(call);
    case nr::arch_prctl:
      return arch_prctl_refusal(call.arguments[0]);
    case nr::ioctl:
      // What the call userfaultfd is refused for, by another way.
      if (static_cast<uint32_t>(call.arguments[1]) == kNewUserfaultfd) return EPERM;
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

}  // namespace rchk::syscalls
