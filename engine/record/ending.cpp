#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>

#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/record/address_changes.h"
#include "engine/record/recorder_impl.h"
#include "snapshot/checksum.h"
#include "snapshot/memory_cost.h"

namespace rchk::record {

namespace {

using tracee::ResumeMode;
using tracee::StopStatus;
namespace nr = syscalls::nr;

// What summing up a page takes, about; processes of no more than 16 MiB need not ask.
constexpr uint64_t kSumNs = 1'700, kFewPages = (16 << 20) / kPageSize;
// Of memory that processes share, 1 GiB.
constexpr uint64_t kMostSharedPages = (1 << 30) / kPageSize;

constexpr char kPlaceIsLost[] = "killed; the history ends at the last event";

// The call at whose entry a task was killed before its stop was seen. The kernel does not make it
// (kernel/entry/common.c, syscall_trace_enter): the guest stands at the instruction.
std::optional<PendingCall> call_not_made(const Task& task, const Registers& now) {
  const bool at_entry = now.orig_rax != kNoCall && static_cast<int64_t>(now.rax) == -ENOSYS &&
                        now.rcx == now.rip && !same_guest_state(now, task.last_registers);
  if (task.call || !at_entry) return std::nullopt;
  PendingCall call = call_at_entry(now);
  call.entry.call = syscalls::call_of(static_cast<int32_t>(now.orig_rax), now);
  return call;
}

// The wait status of a process whose last task ends with `own`.
int end_status_of(const Task& task, int own) {
  const bool own_exit = task.call && task.call->entry.call.number == nr::exit;
  const bool is_leader = task.tid == task.process->pid;
  return own_exit && !is_leader ? task.process->leader_status.value_or(own) : own;
}

// As wait(2) gives it.
int wait_status_of(const StopStatus& end) {
  constexpr int kCoreDumped = 0x80;
  if (end.kind == StopStatus::Kind::kExited) return W_EXITCODE(end.value, 0);
  return end.value | (end.core_dumped ? kCoreDumped : 0);
}

// MAP_SHARED memory of a file changes with the file, whoever writes it.
bool belongs_to_others(const trace::Mapping& mapping) {
  return mapping.shared && mapping.backing.has_value();
}

}  // namespace

// Checksums of all that a replay must reproduce. Breakpoints must not be in memory.
Result<std::vector<trace::MemoryChecksum>> Recorder::Impl::checksum_memory() {
  say_what_outsiders_changed();
  RCHK_TRY(grow_stacks(task_->tid, task_->space->memory));
  snapshot::AddressSpace replayed;
  for (const auto& [begin, mapping] : task_->space->memory.mappings()) {
    if (!belongs_to_others(mapping)) replayed.map(mapping);
  }
  RCHK_TRY_ASSIGN(const auto runs, snapshot::checksum_memory(task_->tid, replayed, allowed_cpus_));
  std::vector<trace::MemoryChecksum> checksums;
  checksums.reserve(runs.size());
  for (const snapshot::RunChecksum& run : runs) checksums.push_back({run.range, run.xxh3});
  return checksums;
}

// Whether what processes share of it is small enough: that is read whole, which gives memory to
// pages that nobody has used.
bool Recorder::Impl::can_checksum_memory() {
  uint64_t pages = 0;
  for (const auto& [begin, mapping] : task_->space->memory.mappings()) {
    if (mapping.shared && !belongs_to_others(mapping)) pages += mapping.range.size() / kPageSize;
  }
  if (pages <= kMostSharedPages) return true;
  say_once(
      "Replays do not compare the memory of processes that share more than 1 GiB: reading it would "
      "make it larger.");
  return false;
}

// Those of a process that ends; none where others would have to wait for them too long.
Result<std::vector<trace::MemoryChecksum>> Recorder::Impl::checksum_memory_at_end() {
  std::vector<trace::MemoryChecksum> none;
  if (!can_checksum_memory()) return none;
  const uint64_t pages =
      snapshot::private_pages(task_->process->pid) + pages_stored_to(*task_->space);
  const bool asks = tasks_.size() > 1 && options_.checksum_share != 0 && pages > kFewPages;
  const uint64_t begin_ns = now_ns();
  if (asks && !checksum_budget_.allows(begin_ns, pages * kSumNs)) return none;
  auto checksums = checksum_memory();
  if (asks) checksum_budget_.note(now_ns() - begin_ns);
  return checksums;
}

Result<void> Recorder::Impl::checksum_if_due(const Registers& registers) {
  const std::chrono::nanoseconds interval = options_.checksum_interval;
  if (interval.count() == 0 || last_event_ns_ < next_checksum_ns_) return {};
  const uint64_t begin = now_ns();
  // What the kernel has stored for another task is in the log only when that one's stop is read,
  // and what another task computed only behind its next event.
  for (const auto& [tid, task] : tasks_) {
    if (task.get() == task_) continue;
    if (task->unread || task->state == TaskState::kRunning || !task->behind_event) return {};
  }
  if (!can_checksum_memory()) {
    next_checksum_ns_ = begin + static_cast<uint64_t>(interval.count());
    return {};
  }
  const bool were_in = task_->space->breakpoints.inserted();
  if (were_in) task_->space->breakpoints.remove_all(task_->tracee);
  trace::ChecksumEvent event;
  event.registers = registers;
  RCHK_TRY_ASSIGN(event.memory, checksum_memory());
  if (were_in) task_->space->breakpoints.insert_all(task_->tracee);
  RCHK_TRY(append(std::move(event)));
  const uint64_t end = now_ns();
  next_checksum_ns_ = end + std::max(static_cast<uint64_t>(interval.count()),
                                     options_.checksum_share * (end - begin));
  return {};
}

// Where the kernel writes when a task ends: the word of set_tid_address, and the futexes that it
// holds (kernel/futex/core.c, exit_robust_list).
std::vector<AddressRange> Recorder::Impl::words_written_at_end(const Task& task) const {
  constexpr uint64_t kWordBytes = 4;
  constexpr int kMostFutexes = 2048;  // ROBUST_LIST_LIMIT
  std::vector<AddressRange> words;
  if (task.clear_child_tid.value != 0) {
    words.push_back(range_of(task.clear_child_tid, kWordBytes));
  }
  if (task.robust_list.value == 0) return words;
  struct Head {  // struct robust_list_head
    uint64_t next = 0;
    int64_t futex_offset = 0;
    uint64_t pending = 0;
  } head;
  const auto read = [&task](uint64_t address, void* into, size_t bytes) {
    return task.tracee.read_memory({address}, {static_cast<uint8_t*>(into), bytes}) == bytes;
  };
  if (!read(task.robust_list.value, &head, sizeof(head))) return words;
  const auto add = [&](uint64_t entry) {
    // Bit 0 says that it is a priority-inheriting one.
    const uint64_t futex = (entry & ~1ull) + static_cast<uint64_t>(head.futex_offset);
    words.push_back(range_of({futex}, kWordBytes));
  };
  uint64_t entry = head.next;
  for (int i = 0; i < kMostFutexes && (entry & ~1ull) != task.robust_list.value; ++i) {
    add(entry);
    if (!read(entry & ~1ull, &entry, sizeof(entry))) break;
  }
  if (head.pending != 0) add(head.pending);
  return words;
}

bool Recorder::Impl::memory_is_used_by_others(const Task& task) const {
  return std::any_of(tasks_.begin(), tasks_.end(), [&task](const auto& other) {
    return other.second.get() != &task && other.second->space == task.space;
  });
}

size_t Recorder::Impl::live_tasks_of(const Process& process) const {
  return static_cast<size_t>(std::count_if(
      tasks_.begin(), tasks_.end(),
      [&process](const auto& task) { return task.second->process.get() == &process; }));
}

// A task is on its way out; its memory is still there.
Result<Recorder::Impl::MaybeStop> Recorder::Impl::on_exit_event() {
  Task& task = *task_;
  if (task.exit_recorded) return MaybeStop();
  task.in_exit_stop = true;
  if (task.call && task.call->spawned > 0) {
    const auto child = tasks_.find(task.call->spawned);
    RCHK_TRY(leave_processor());
    if (child != tasks_.end()) RCHK_TRY(spawned_by_call(*child->second));
  }
  RCHK_TRY_ASSIGN(const uint64_t message, task.tracee.event_message());
  const StopStatus status = tracee::decode_wait_status(static_cast<int>(message));
  const bool was_killed = status.kind == StopStatus::Kind::kKilled;
  if (was_killed) {
    RCHK_TRY_ASSIGN(const Registers now, task.tracee.registers());
    if (auto call = call_not_made(task, now)) task.call = std::move(call);
  }
  const bool own_exit = task.call && task.call->entry.call.number == nr::exit;
  const bool others_stay =
      own_exit || std::any_of(tasks_.begin(), tasks_.end(), [&task](const auto& other) {
        // An execve ends all other threads of its process.
        const Task& one = *other.second;
        return &one != &task && one.process == task.process && one.call &&
               syscalls::is_exec(one.call->entry.call.number);
      });
  const bool last = !memory_is_used_by_others(task);
  const bool killed_alone = was_killed && !task.call && !task.fatal_signal_recorded && !others_stay;
  if (killed_alone) {
    // SIGKILL: the only signal that a tracer is not asked about.
    RCHK_TRY(add_handler_of_killed(task));
    RCHK_TRY_ASSIGN(const Registers registers, registers_at_place());
    siginfo_t info{};
    info.si_signo = status.value;
    if (!task.place_lost) RCHK_TRY(add_fatal_signal(info, registers));
  } else if (!last && !task.call) {
    RCHK_TRY(leave_processor());
  }
  if (!others_stay && live_tasks_of(*task.process) > 1) {
    RCHK_TRY(leave_processor());
    RCHK_TRY(end_others_of(*task.process));
  }
  if (memory_is_used_by_others(task)) {
    RCHK_TRY(end_task(task));
  } else {
    RCHK_TRY(end_process());
  }
  return finished_ ? MaybeStop(*finished_) : MaybeStop();
}

// All tasks of `process` but task_ have been killed with it.
Result<void> Recorder::Impl::end_others_of(Process& process) {
  std::vector<Task*> others;
  for (const auto& [tid, task] : tasks_) {
    if (task.get() != task_ && task->process.get() == &process) others.push_back(task.get());
  }
  for (Task* other : others) {
    if (!other->announced) RCHK_TRY(spawned_by_call(*other));
    bool gone = false;
    while (!other->in_exit_stop && !gone) {
      StopStatus stop;
      if (other->unread) {
        stop = *std::exchange(other->unread, std::nullopt);
      } else {
        RCHK_TRY_ASSIGN(stop, other->tracee.wait());
      }
      gone = stop.is_gone();
      other->in_exit_stop =
          stop.kind == StopStatus::Kind::kEvent && stop.value == tracee::kEventExit;
      // It is being killed, whatever it says.
      if (!gone && !other->in_exit_stop) (void)other->tracee.resume(ResumeMode::kContinue);
    }
    RCHK_TRY(end_task(*other));
  }
  return {};
}

// A task that is killed comes back from its call all the same, and nobody is told (kernel/signal.c,
// ptrace_stop). The call may have come to its end just then. One that is cut short leaves what one
// that is interrupted leaves: how long it had to go on (kernel/time/hrtimer.c, do_nanosleep;
// fs/select.c, poll_select_finish).
Result<void> Recorder::Impl::add_end_of_killed_call(Task& task) {
  if (!task.call || !task.in_exit_stop || task.call->at_entry || task.call->answer) return {};
  const int64_t number = task.call->entry.call.number;
  if (number == nr::exit || number == nr::exit_group) return {};
  RCHK_TRY_ASSIGN(const Registers after, task.tracee.registers());
  const auto result = static_cast<int64_t>(after.rax);
  // It dies as a program that nobody has seen.
  if (syscalls::is_exec(number) && result == 0) return {};
  const bool interrupted = result == -EINTR || is_restart(result);
  if (number != nr::rt_sigreturn && interrupted) {
    // What it has stored to scratch nobody will see.
    if (task.call->scratch) return {};
    return add_stores_of_interrupted(task, *task.call);
  }
  Task* const current = std::exchange(task_, &task);
  const Result<void> added = add_end_of_call(after);
  task_ = current;
  return added;
}

// Of task_'s, which does not go on behind it.
Result<void> Recorder::Impl::add_end_of_call(Registers after) {
  PendingCall call = *std::exchange(task_->call, std::nullopt);
  if (call.scratch) RCHK_TRY(bring_back_stores(*task_, call, after));
  const auto result = static_cast<int64_t>(after.rax);
  if (call.continued) RCHK_TRY(restore_time_out(call, after));
  RCHK_TRY_ASSIGN(trace::SyscallEvent event, event_of(call, after, result));
  task_->last_registers = event.after;
  RCHK_TRY(append(std::move(event)));
  return add_foreign_changes(call, result);
}

// waitid clears what it was to fill in (kernel/exit.c).
Result<void> Recorder::Impl::add_stores_of_interrupted(Task& task, const PendingCall& call) {
  const syscalls::Outputs outputs = syscalls::outputs(call.entry, -EINTR, GuestReader(task.tracee));
  if (outputs.ranges.empty()) return {};
  return add_call_made_again(task, call, outputs.ranges);
}

// The end of a task in whose memory others go on.
Result<void> Recorder::Impl::end_task(Task& task, const std::optional<StopStatus>& gone) {
  RCHK_TRY(add_end_of_killed_call(task));
  if (task.in_exit_stop) RCHK_TRY(add_handler_of_killed(task));
  if (task.place_lost) {
    say_once(
        "A thread was killed at a point that is not known: a replay may "
        "differ from here.");
  }
  trace::TaskEndEvent event;
  event.place = trace::Place::kAtEvent;
  event.registers = task.last_registers;
  const PendingCall* call = task.call ? &*task.call : nullptr;
  if (task.interrupted) call = &task.interrupted->call;
  if (task.restarted) call = &*task.restarted;
  if (call != nullptr) {
    event.place = trace::Place::kAtCall;
    event.registers = call->before;
  }
  if (task.in_exit_stop) {
    RCHK_TRY_ASSIGN(const uint64_t message, task.tracee.event_message());
    event.status = static_cast<int32_t>(message);
  } else if (gone) {
    event.status = wait_status_of(*gone);
  }
  if (task.in_exit_stop || gone) {
    if (task.tid == task.process->pid) task.process->leader_status = event.status;
    if (live_tasks_of(*task.process) == 1) {
      event.status = end_status_of(task, event.status);
      note_end(task, tracee::decode_wait_status(event.status));
    }
  }
  std::vector<AddressRange> words;
  if (task.in_exit_stop) {
    words = words_written_at_end(task);
    RCHK_TRY(task.tracee.resume(ResumeMode::kContinue));
    RCHK_TRY(wait_until_dead(task));
  } else if (task.clear_child_tid.value != 0) {
    words.push_back(range_of(task.clear_child_tid, sizeof(int32_t)));
  }
  const auto survivor = std::find_if(tasks_.begin(), tasks_.end(), [&task](const auto& other) {
    return other.second.get() != &task && other.second->space == task.space;
  });
  for (const AddressRange& word : words) {
    trace::MemoryWrite write{word.begin, Bytes(word.size())};
    write.bytes.resize(survivor->second->tracee.read_memory(word.begin, write.bytes));
    if (!write.bytes.empty()) event.writes.push_back(std::move(write));
  }
  task.exit_recorded = true;
  RCHK_TRY(append_of(task, std::move(event)));
  remove_task(task);
  return {};
}

// The first process of a pid namespace kills all others in it, and waits until they have ended and
// their parents have heard of it (kernel/pid_namespace.c, zap_pid_ns_processes): they are to be let
// go on meanwhile. It has given up its memory before.
bool Recorder::Impl::waits_for_others_to_end(const Task& task) const {
  const char state = state_in_kernel(task.tid);
  if (state != 'S' && state != 'D') return false;
  const auto pages = read_proc_file(task.tid, "statm");
  return pages && !pages->empty() && pages->front() == '0';
}

// A leader stays a zombie until the other threads have ended, and nobody is told of it till then
// (ptrace(2), "Death under ptrace"). wait_for_any() will hear of one that waits for others to end.
Result<void> Recorder::Impl::wait_until_dead(Task& task) {
  constexpr useconds_t kPauseUs = 20;
  const bool leads_others = task.tid == task.process->pid && live_tasks_of(*task.process) > 1;
  const bool may_wait = tasks_.size() > 1 && is_first_of_namespace(task.process->pid);
  for (;;) {
    siginfo_t info{};
    const int options = WEXITED | WNOWAIT | __WALL | (leads_others || may_wait ? WNOHANG : 0);
    if (waitid(P_PID, static_cast<id_t>(task.tid), &info, options) != 0) {
      if (errno == EINTR) continue;
      task.tracee.forget();
      return {};
    }
    const bool dead =
        info.si_pid != 0 &&
        (info.si_code == CLD_EXITED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED);
    if (dead) {
      RCHK_TRY(task.tracee.wait());
      return {};
    }
    if (may_wait && info.si_pid == 0 && waits_for_others_to_end(task)) {
      ending_.insert(task.tid);
      return {};
    }
    if (leads_others || (may_wait && info.si_pid == 0)) {
      // A stop: another thread has executed a program, and has this one's tid now.
      const char state = state_in_kernel(task.tid);
      if (leads_others && (info.si_pid != 0 || state == 'Z' || state == 'X')) {
        task.tracee.forget();
        return {};
      }
      usleep(kPauseUs);
      continue;
    }
    RCHK_TRY(task.tracee.wait());
    (void)task.tracee.resume(ResumeMode::kContinue);
  }
}

// What run() says when all is over is the end of the first process.
void Recorder::Impl::note_end(const Task& task, const StopStatus& status) {
  if (!debugged(task)) return;
  first_end_ = RecorderStop{.cause = StopCause::kExited};
  const bool killed = status.kind == StopStatus::Kind::kKilled;
  (killed ? first_end_->signal : first_end_->status) = status.value;
  first_end_->core_dumped = status.core_dumped;
}

// The end of the last task of its memory.
Result<void> Recorder::Impl::end_process() {
  Task& task = *task_;
  RCHK_TRY_ASSIGN(const uint64_t message, task.tracee.event_message());
  const StopStatus status =
      tracee::decode_wait_status(end_status_of(task, static_cast<int>(message)));
  const bool killed = status.kind == StopStatus::Kind::kKilled;
  task.space->breakpoints.remove_all(task.tracee);
  // Its memory may be the next program's, of which nothing is in the log.
  const bool in_exec = task.call && syscalls::is_exec(task.call->entry.call.number);
  RCHK_TRY(add_end_of_killed_call(task));
  trace::ExitEvent event;
  event.registers = task.call ? task.call->before : task.last_registers;
  if (!task.call) event.place = trace::ExitPlace::kAtEvent;
  event.reason = killed ? trace::ExitReason::kKilled : trace::ExitReason::kExited;
  event.status = status.value;
  event.core_dumped = status.core_dumped;
  if (task.place_lost) {
    event.place = trace::ExitPlace::kUnknown;
    event.message = kPlaceIsLost;
  } else if (!in_exec) {
    RCHK_TRY_ASSIGN(event.memory, checksum_memory_at_end());
  }
  task.exit_recorded = true;
  RCHK_TRY(append(std::move(event)));
  note_end(task, status);
  task.space->reference.reset();
  const std::vector<AddressRange> words =
      tasks_.size() > 1 ? words_written_at_end(task) : std::vector<AddressRange>();
  RCHK_TRY(task.tracee.resume(ResumeMode::kContinue));
  RCHK_TRY(wait_until_dead(task));
  RCHK_TRY(add_late_writes(task, words));
  if (task.tid != task.process->pid && ending_.count(task.tid) != 0) {
    ending_.insert(task.process->pid);
  } else if (task.tid != task.process->pid) {
    int ignored = 0;  // the leader's, at last
    while (waitpid(task.process->pid, &ignored, __WALL) < 0 && errno == EINTR) {
    }
  }
  remove_task(task);
  return {};
}

// Where `space` has the memory that is at `address` of `own`, a shared mapping of another space's.
std::vector<GuestAddress> Recorder::Impl::places_in(const Space& space, const trace::Mapping& own,
                                                    GuestAddress address) const {
  if (!own.backing) {
    const trace::Mapping* const same = space.memory.find(address);
    const bool inherited = same != nullptr && same->shared && same->name == own.name;
    return inherited ? std::vector<GuestAddress>{address} : std::vector<GuestAddress>();
  }
  const FileStore::Version& file = files_.version(own.backing->file);
  const uint64_t offset = own.backing->offset_bytes + (address - own.range.begin);
  std::vector<GuestAddress> places;
  for (const auto& [begin, mapping] : space.memory.mappings()) {
    if (!mapping.shared || !mapping.backing) continue;
    const FileStore::Version& other = files_.version(mapping.backing->file);
    if (other.device != file.device || other.inode != file.inode) continue;
    const uint64_t first = mapping.backing->offset_bytes;
    if (offset < first || offset - first >= mapping.range.size()) continue;
    places.push_back(begin + (offset - first));
  }
  return places;
}

// A futex that a process held when it ended may be in memory that others share.
Result<void> Recorder::Impl::add_late_writes(const Task& task,
                                             const std::vector<AddressRange>& words) {
  for (const AddressRange& word : words) {
    const trace::Mapping* const own = task.space->memory.find(word.begin);
    if (own == nullptr || !own->shared) continue;
    std::set<Space*> done;
    for (const auto& [tid, other] : tasks_) {
      if (other->space == task.space || !done.insert(other->space.get()).second) continue;
      for (const GuestAddress place : places_in(*other->space, *own, word.begin)) {
        trace::MemoryWrite write{place, Bytes(word.size())};
        write.bytes.resize(other->tracee.read_memory(place, write.bytes));
        if (write.bytes.empty()) continue;
        RCHK_TRY(add_memory_event(*other->space, {{}, {std::move(write)}}));
      }
    }
  }
  return {};
}

void Recorder::Impl::remove_task(Task& task) {
  const auto found = tasks_.find(task.tid);
  const std::unique_ptr<Task> removed = std::move(found->second);
  tasks_.erase(found);
  states_.erase(removed->tid);
  removed->tracee.forget();
  if (task_ != removed.get()) return;
  task_ = nullptr;
  for (const auto& [tid, other] : tasks_) {
    if (task_ == nullptr || other->process == removed->process) task_ = other.get();
  }
  yielded_ = true;
  if (task_ == nullptr) last_memory_ = removed->space->memory;
  if (task_ == nullptr) finished_ = first_end_.value_or(RecorderStop{.cause = StopCause::kExited});
}

// A SIGKILL may end a process without a stop in between.
Result<Recorder::Impl::MaybeStop> Recorder::Impl::on_gone(const StopStatus& status) {
  Task& task = *task_;
  task.in_exit_stop = false;  // one that SIGKILL finds there is gone as well
  if (memory_is_used_by_others(task)) {
    if (!task.behind_event && !task.call) {
      say_once(
          "A thread was killed at a point that is not known: a replay may "
          "differ from here.");
    }
    RCHK_TRY(end_task(task, status));
    return MaybeStop();
  }
  const bool killed = status.kind == StopStatus::Kind::kKilled;
  trace::ExitEvent event;
  event.reason = killed ? trace::ExitReason::kKilled : trace::ExitReason::kExited;
  event.status = status.value;
  event.core_dumped = status.core_dumped;
  event.registers = task.call ? task.call->before : task.last_registers;
  if (!task.call) {
    event.place =
        task.signal_event_is_last ? trace::ExitPlace::kAtEvent : trace::ExitPlace::kUnknown;
  }
  if (event.place == trace::ExitPlace::kUnknown) {
    event.message = kPlaceIsLost;
  }
  note_end(task, status);
  task.exit_recorded = true;
  RCHK_TRY(append(std::move(event)));
  remove_task(task);
  return finished_ ? MaybeStop(*finished_) : MaybeStop();
}

// At the recorder's own end. A thread group ends only when all of its threads are let go.
void Recorder::Impl::kill_all() {
  constexpr useconds_t kPauseUs = 100;
  for (const auto& [tid, stop] : unknown_) ::kill(tid, SIGKILL);
  std::erase_if(tasks_, [](const auto& task) { return task.second->tracee.pid() < 0; });
  for (const auto& [tid, task] : tasks_) ::kill(tid, SIGKILL);
  while (!tasks_.empty()) {
    for (auto entry = tasks_.begin(); entry != tasks_.end();) {
      tracee::Tracee& tracee = entry->second->tracee;
      (void)tracee.resume(ResumeMode::kContinue);
      const auto stop = tracee.poll();
      const bool gone = !stop || (*stop && (*stop)->is_gone());
      if (gone) tracee.forget();
      entry = gone ? tasks_.erase(entry) : std::next(entry);
    }
    if (!tasks_.empty()) usleep(kPauseUs);
  }
}

}  // namespace rchk::record
