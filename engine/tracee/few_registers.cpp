#include "engine/tracee/few_registers.h"

#include <cstddef>
#include <cstring>

#include <sys/ptrace.h>
#include <sys/user.h>

namespace rchk::tracee {

Result<void> change_registers(const Tracee& tracee, const Registers& now, const Registers& to) {
  constexpr size_t kWords = sizeof(Registers) / sizeof(uint64_t);
  static_assert(sizeof(Registers) == sizeof(user_regs_struct) && offsetof(struct user, regs) == 0);
  uint64_t before[kWords], behind[kWords];
  std::memcpy(before, &now, sizeof(before));
  std::memcpy(behind, &to, sizeof(behind));
  for (size_t i = 0; i < kWords; ++i) {
    if (before[i] == behind[i]) continue;
    if (ptrace(PTRACE_POKEUSER, tracee.pid(), i * sizeof(uint64_t), behind[i]) != 0) {
      return fail_errno(fmt::format("registers of process {}", tracee.pid()));
    }
  }
  return {};
}

}  // namespace rchk::tracee
