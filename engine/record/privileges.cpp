// What a program may set for itself that would shut the recorder out: it believes that it has it.
// Memory that nobody may read (PR_SET_DUMPABLE), which keeps a tracer without a privilege out; and
// real-time scheduling, which keeps the recorder from the core that both are on.

#include <cerrno>

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/record/address_changes.h"
#include "engine/record/contention.h"
#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

using syscalls::Call;
namespace nr = syscalls::nr;

bool is_real_time(uint32_t policy) { return policy == SCHED_FIFO || policy == SCHED_RR; }

std::optional<SchedulingAttributes> scheduling_of(pid_t tid) {
  SchedulingAttributes now;
  if (syscall(SYS_sched_getattr, tid, &now, sizeof(now), 0) != 0) return std::nullopt;
  return now;
}

// Takes it away, if it has it. What it was.
std::optional<SchedulingAttributes> take_real_time(pid_t tid) {
  const std::optional<SchedulingAttributes> had = scheduling_of(tid);
  if (!had || !is_real_time(had->policy)) return std::nullopt;
  const bool resets = (had->flags & kResetsOnFork) != 0;
  const sched_param none{};  // unlike sched_setattr it leaves the nice value
  const int usual = SCHED_OTHER | (resets ? SCHED_RESET_ON_FORK : 0);
  return sched_setscheduler(tid, usual, &none) == 0 ? had : std::nullopt;
}

}  // namespace

// May look at processes that are not dumpable (kernel/ptrace.c, __ptrace_may_access).
bool may_look_everywhere() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  return (data[0].effective & (1u << CAP_SYS_PTRACE)) != 0;
}

std::optional<int64_t> Recorder::Impl::answer_about_privileges(const Call& call) {
  if (call.number == nr::prctl) return answer_about_dumps(call);
  const bool asks = call.number == nr::sched_getscheduler || call.number == nr::sched_setparam;
  Task* const task = asks ? task_named(call.arguments[0]) : nullptr;
  if (task == nullptr || !task->believed_scheduling) return std::nullopt;
  SchedulingAttributes& believed = *task->believed_scheduling;
  if (call.number == nr::sched_getscheduler) {
    const bool resets = (believed.flags & kResetsOnFork) != 0;
    return believed.policy | (resets ? SCHED_RESET_ON_FORK : 0);
  }
  uint32_t priority = 0;
  const std::span<uint8_t> bytes{reinterpret_cast<uint8_t*>(&priority), sizeof(priority)};
  if (task_->tracee.read_memory({call.arguments[1]}, bytes) != sizeof(priority)) return -EFAULT;
  const int policy = static_cast<int>(believed.policy);
  const auto least = static_cast<uint32_t>(sched_get_priority_min(policy));
  if (priority < least || priority > static_cast<uint32_t>(sched_get_priority_max(policy))) {
    return -EINVAL;
  }
  believed.priority = priority;
  return 0;
}

std::optional<int64_t> Recorder::Impl::answer_about_dumps(const Call& call) {
  std::optional<uint8_t>& believed = task_->space->believed_dumpable;
  if (call.arguments[0] == PR_GET_DUMPABLE && believed) return *believed;
  const bool sets = call.arguments[0] == PR_SET_DUMPABLE && call.arguments[1] <= 1;
  if (!sets || may_look_) return std::nullopt;
  believed = static_cast<uint8_t>(call.arguments[1]);
  return 0;
}

// Behind a call that has returned.
Result<void> Recorder::Impl::note_scheduling(const Call& call, int64_t result) {
  const bool concerns = call.number == nr::sched_setscheduler || call.number == nr::sched_setattr ||
                        call.number == nr::sched_getparam || call.number == nr::sched_getattr;
  Task* const task = concerns && result >= 0 ? task_named(call.arguments[0]) : nullptr;
  if (task == nullptr) return {};
  std::optional<SchedulingAttributes>& believed = task->believed_scheduling;
  switch (call.number) {
    case nr::sched_setscheduler:
    case nr::sched_setattr:
      believed = take_real_time(task->tid);
      if (!believed) return {};
      say_once(
          "The program asks for real-time scheduling. It believes that it has it, but the "
          "recorder is on the same core, and has to get there.");
      return {};
    case nr::sched_getparam:
      if (!believed) return {};
      return store_scheduling({call.arguments[1]}, believed->priority);
    case nr::sched_getattr: {
      constexpr uint64_t kPolicyAt = 4, kPriorityAt = 20;
      if (!believed) return {};
      RCHK_TRY(store_scheduling({call.arguments[1] + kPolicyAt}, believed->policy));
      return store_scheduling({call.arguments[1] + kPriorityAt}, believed->priority);
    }
    default:
      return {};
  }
}

// A program that the recorder's user may execute and not read: neither may the recorder then, not
// even its memory.
bool Recorder::Impl::executes_unreadable(const Call& call) const {
  if (may_look_ || !syscalls::is_exec(call.number)) return false;
  const bool at = call.number == nr::execveat;
  std::string path = path_seen_by(task_->tid, {call.arguments[at ? 1 : 0]});
  if (at && (call.arguments[4] & AT_EMPTY_PATH) != 0) {
    path = fmt::format("/proc/{}/fd/{}", task_->tid, call.descriptor(0));
  }
  return access(path.c_str(), X_OK) == 0 && access(path.c_str(), R_OK) != 0;
}

Result<void> Recorder::Impl::store_scheduling(GuestAddress at, uint32_t value) {
  return task_->tracee.write_memory(at, {reinterpret_cast<const uint8_t*>(&value), sizeof(value)});
}

// Whoever starts the recorder may have given it to both.
void Recorder::Impl::leave_real_time() {
  take_real_time(0);
  task_->believed_scheduling = take_real_time(task_->tid);
}

}  // namespace rchk::record
