#include "engine/replay/guest.h"

#include "base/check.h"

namespace rchk::replay {

Result<Guest> Guest::fork(Sharing sharing) const {
  RCHK_TRY_ASSIGN(std::unique_ptr<Puppet> copy, puppet->fork(sharing));
  return Guest{std::move(copy),      registers,  position, tid, pid, space, others, is_amid, early,
               has_stores_of_others, stored_over};
}

Result<void> Guest::switch_to(Tid next) {
  if (next == tid) return {};
  const auto found = others.find(next);
  RCHK_CHECK(found != others.end(), "no task {}", next.value);
  WaitingTask waiting{registers, {}, is_amid};
  RCHK_TRY_ASSIGN(waiting.extended_state, puppet->extended_state());
  if (!found->second.extended_state.empty()) {
    RCHK_TRY(puppet->set_extended_state(found->second.extended_state));
  }
  registers = found->second.registers;
  is_amid = found->second.is_amid;
  others.erase(found);
  others.emplace(tid, std::move(waiting));
  tid = next;
  return {};
}

Result<void> Guest::remove_task(Tid task) {
  RCHK_CHECK(has_task(task) && !others.empty(), "task {} of {}", task.value, others.size() + 1);
  if (task == tid) RCHK_TRY(switch_to(others.begin()->first));
  others.erase(task);
  return {};
}

}  // namespace rchk::replay
