// What changed since: the pages of events by state, and copies of the guest.

#include <algorithm>
#include <cstring>

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>

#include "engine/record/address_changes.h"
#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

using Kinship = tracee::Tracee::Kinship;
namespace nr = syscalls::nr;

// A new reference costs a copy of each page that the guest writes to next; an old one makes events
// larger.
constexpr uint64_t kMostPagesOfOldReference = 64;

constexpr size_t kTerminalControls = 19;   // NCCS, asm-generic/termbits.h
constexpr uint32_t kTcsets2 = 0x402c542b;  // TCSETS2; TCSETSW2 and TCSETSF2 follow

// Takes `now` into `known`, which is of the same memory or of none. What differs, from the first
// byte to the last.
trace::MemoryWrite take_difference(const trace::MemoryWrite& now, trace::MemoryWrite& known) {
  if (known.address != now.address || known.bytes.size() != now.bytes.size()) {
    known = now;
    return now;
  }
  const auto [first, was] = std::mismatch(now.bytes.begin(), now.bytes.end(), known.bytes.begin());
  if (first == now.bytes.end()) return {now.address, {}};
  const auto last = std::mismatch(now.bytes.rbegin(), now.bytes.rend(), known.bytes.rbegin()).first;
  trace::MemoryWrite difference{now.address + static_cast<uint64_t>(first - now.bytes.begin()),
                                Bytes(first, last.base())};
  known = now;
  return difference;
}

}  // namespace

bool asks_to_wait_for_more(const syscalls::Call& call, const syscalls::MemoryReader& memory) {
  // struct termios of asm-generic/termbits.h: four flags, c_line, c_cc.
  constexpr size_t kLocalFlags = 12, kControls = 17, kTermiosBytes = kControls + kTerminalControls;
  if (call.number == nr::setsockopt) {
    int bytes = 0;
    const bool low_water = call.arguments[1] == SOL_SOCKET && call.arguments[2] == SO_RCVLOWAT;
    const std::span<uint8_t> value{reinterpret_cast<uint8_t*>(&bytes), sizeof(bytes)};
    return low_water && memory.read({call.arguments[3]}, value) == sizeof(bytes) && bytes > 1;
  }
  if (call.number != nr::ioctl) return false;
  switch (static_cast<uint32_t>(call.arguments[1])) {
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
    case kTcsets2:
    case kTcsets2 + 1:
    case kTcsets2 + 2:
      break;
    default:
      return false;
  }
  uint8_t settings[kTermiosBytes];
  if (memory.read({call.arguments[2]}, settings) != sizeof(settings)) return false;
  uint32_t local = 0;
  std::memcpy(&local, settings + kLocalFlags, sizeof(local));
  return (local & ICANON) == 0 && settings[kControls + VMIN] > 1;
}

// A read does where it waits for a disk.
bool stores_in_parts(const Task& task, bool reads_wait_for_more) {
  const syscalls::Call& call = task.call->entry.call;
  switch (call.number) {
    case nr::recvfrom:
      return reads_wait_for_more || (call.arguments[3] & MSG_WAITALL) != 0;
    case nr::recvmsg:
      return reads_wait_for_more || (call.arguments[2] & MSG_WAITALL) != 0;
    case nr::recvmmsg:
      return true;
    case nr::read:
    case nr::readv:
    case nr::pread64:
    case nr::preadv:
    case nr::preadv2:
      return reads_wait_for_more || state_in_kernel(task.tid) == 'D';
    default:
      return false;
  }
}

Result<bool> Recorder::Impl::log_partial_stores() {
  bool logged = false;
  for (const auto& [tid, task] : tasks_) {
    const bool waits = task.get() != task_ && task->announced && !task->unread && task->call &&
                       !task->call->at_entry && !task->call->answer && !task->call->scratch &&
                       task->behind_event;
    const bool seen = task->space == task_->space || may_be_shared(*task->space);
    if (!waits || !seen || !stores_in_parts(*task, reads_wait_for_more_)) continue;
    RCHK_TRY_ASSIGN(const bool stored, log_stores_so_far(*task));
    logged |= stored;
  }
  return logged;
}

// Of a task in other memory, those to what it may share.
Result<bool> Recorder::Impl::log_stores_so_far(Task& task) {
  PendingCall& call = *task.call;
  Space& space = *task.space;
  trace::MemoryEvent event;
  size_t index = 0;
  for (const AddressRange& range : most_stored(task)) {
    const trace::Mapping* const mapping = space.memory.find(range.begin);
    const bool seen = task.space == task_->space || (mapping != nullptr && mapping->shared);
    if (!seen) continue;
    trace::MemoryWrite now{range.begin, Bytes(range.size())};
    now.bytes.resize(task.tracee.read_memory(range.begin, now.bytes));
    if (space.breakpoints.inserted()) {
      space.breakpoints.hide_in(now.address, now.bytes, true, task.tracee);
    }
    if (call.told.size() == index) call.told.emplace_back();
    trace::MemoryWrite difference = take_difference(now, call.told[index++]);
    if (!difference.bytes.empty()) event.writes.push_back(std::move(difference));
  }
  if (event.writes.empty()) return false;
  RCHK_TRY(append_of(task, std::move(event)));
  return true;
}

void Recorder::Impl::before_fork(const RunLimits* limits) {
  // Errors show again when the trackers are asked.
  if (task_->space->reference) (void)task_->space->reference->tracker->about_to_fork();
  if (task_->space->snapshots.tracker) (void)task_->space->snapshots.tracker->about_to_fork();
  if (limits != nullptr && limits->before_fork && debugged(*task_)) {
    const TscMirror::Pause pause(tsc_mirror_);
    limits->before_fork();
  }
}

// A task of task_'s memory that is likely to be there for long.
pid_t Recorder::Impl::lasting_task() const {
  const auto leader = tasks_.find(task_->process->pid);
  const bool stays = leader != tasks_.end() && leader->second->space == task_->space &&
                     !leader->second->in_exit_stop && !task_->process->leader_status;
  return stays ? leader->first : task_->tid;
}

// A task that has ended shows no memory any more.
bool Recorder::Impl::is_lost(pid_t tracked) const {
  const auto task = tasks_.find(tracked);
  return task == tasks_.end() || task->second->in_exit_stop || task->second->space != task_->space;
}

// Since the last event of task_, which stands at `registers`.
Result<StatePages> Recorder::Impl::changed_pages(const Registers& registers) {
  Space& space = *task_->space;
  if (space.reference && is_lost(space.reference->tracked)) space.reference.reset();
  RCHK_TRY(grow_stacks(task_->tid, space.memory));
  snapshot::RangeSet pages;
  if (space.reference) {
    Result<snapshot::DirtyPages> dirty = space.reference->tracker->collect();
    if (!dirty) return Failure(dirty.error());
    space.reference->dirty_pages = snapshot::total_pages(dirty->pages);
    // The recorder's own is no state of the guest's.
    pages = snapshot::difference(snapshot::normalized(dirty->pages), space.scratch.all());
  } else {
    // Nothing says which pages changed: all that may have.
    std::vector<trace::Mapping> writable;
    for (const auto& [begin, mapping] : space.memory.mappings()) {
      if (mapping.writable()) writable.push_back(mapping);
    }
    RCHK_TRY_ASSIGN(pages, own_page_ranges(task_->tracee, writable));
  }
  return state_pages(pages, registers);
}

StatePages Recorder::Impl::state_pages(const snapshot::RangeSet& pages,
                                       const Registers& registers) {
  Space& space = *task_->space;
  const bool were_in = space.breakpoints.inserted();
  if (were_in) space.breakpoints.remove_all(task_->tracee);
  StatePages state = read_state_pages(pages, registers, space.memory, reader_of(task_->tracee));
  if (were_in) space.breakpoints.insert_all(task_->tracee);
  return state;
}

// Makes the guest as it is the reference for what changes from now on, where that pays. REQUIRES:
// task_ is stopped behind an event, outside of calls.
Result<void> Recorder::Impl::renew_reference() {
  Space& space = *task_->space;
  if (task_->in_group_stop || task_->in_exit_stop || task_->signal || task_->call) return {};
  if (space.reference && space.reference->dirty_pages <= kMostPagesOfOldReference) return {};
  if (space.reference) {
    tracee::Tracee old = std::move(space.reference->fork);
    space.reference.reset();
    RCHK_TRY(end_reference(old));
  }
  if (!can_fork_reference()) return {};
  RCHK_TRY_ASSIGN(tracee::Tracee forked, fork_reference());
  const pid_t tracked = lasting_task();
  Reference reference{std::move(forked), 0,
                      snapshot::make_tracker(snapshot::TrackerKind::kExclusive, tracked), tracked};
  RCHK_TRY(reference.tracker->begin(reference.fork.pid()));
  space.reference = std::move(reference);
  return {};
}

// The parent of a process that is not the first one must not hear of a reference.
bool Recorder::Impl::can_fork_reference() const {
  return (task_->process->pid == first_pid_ || !has_adopters_) && children_are_beside(task_->tid);
}

// A fork of task_'s memory that does not run. REQUIRES: as renew_reference().
Result<tracee::Tracee> Recorder::Impl::fork_reference() {
  Space& space = *task_->space;
  const bool is_first = task_->process->pid == first_pid_;
  before_fork(limits_);
  const bool were_in = space.breakpoints.inserted();
  if (were_in) space.breakpoints.remove_all(task_->tracee);
  Result<tracee::Tracee> forked =
      task_->tracee.fork(space.confinement.gadget, is_first ? Kinship::kSibling : Kinship::kChild);
  if (were_in) space.breakpoints.insert_all(task_->tracee);
  if (!forked) return forked;
  RCHK_TRY(let_go_of_what_others_see(*forked));
  return forked;
}

// A copy of task_'s memory that does not run must not keep what the guest may wait for or count:
// an open end of a pipe, memory that is attached, sealed or executed once nobody maps it to store
// to, a folder whose file system is unmounted, a process group or session that is to be empty.
Result<void> Recorder::Impl::let_go_of_what_others_see(tracee::Tracee& copy) {
  const Space& space = *task_->space;
  const GuestAddress gadget = space.confinement.gadget;
  RCHK_TRY(copy.remote_syscall(gadget, SYS_close_range, {0, ~0u, 0}));
  RCHK_TRY(copy.remote_syscall(gadget, SYS_setsid));
  for (const auto& [begin, mapping] : space.memory.mappings()) {
    if (!mapping.shared || !mapping.writable()) continue;
    RCHK_TRY(copy.remote_syscall(gadget, SYS_munmap, {begin.value, mapping.range.size()}));
  }
  constexpr uint8_t kRoot[] = {'/', 0};
  constexpr uint64_t kBelowRedZone = 512;
  RCHK_TRY_ASSIGN(const Registers registers, copy.registers());
  const GuestAddress room{registers.rsp - kBelowRedZone};
  uint8_t kept[sizeof(kRoot)];
  if (copy.read_memory(room, kept) != sizeof(kept)) return {};
  if (!copy.write_memory(room, kRoot)) return {};
  RCHK_TRY(copy.remote_syscall(gadget, SYS_chdir, {room.value}));
  return copy.write_memory(room, kept);
}

Result<void> Recorder::Impl::end_reference(tracee::Tracee& fork) {
  const pid_t pid = fork.pid();
  fork.kill();
  if (task_->process->pid == first_pid_) return {};
  RCHK_TRY(task_->tracee.remote_syscall(task_->space->confinement.gadget, SYS_wait4,
                                        {static_cast<uint64_t>(pid), 0, __WCLONE | WNOHANG, 0}));
  return {};
}

Result<ForkSnapshot> Recorder::Impl::fork_snapshot() {
  RCHK_TRY(require_guest());
  if (task_->call && !task_->call->at_entry) {
    return fail(ErrorKind::kUnsupported, "no snapshot here: the program is inside a system call");
  }
  if (!children_are_beside(task_->tid)) {
    return fail(ErrorKind::kUnsupported,
                "no snapshot here: the program's next child is to begin a pid namespace");
  }
  RCHK_TRY_ASSIGN(const Registers registers, this->registers());
  RCHK_TRY_ASSIGN(ExtendedState extended, task_->tracee.extended_state());
  RCHK_TRY(grow_stacks(task_->tid, task_->space->memory));
  keep_states_ = true;
  before_fork(nullptr);
  Result<tracee::Tracee> forked = task_->tracee.fork(task_->space->confinement.gadget);
  RCHK_TRY(restore_signal_stop());
  if (!forked) return Failure(forked.error());
  tracee::Tracee child = std::move(*forked);
  RCHK_TRY(child.set_registers(registers));
  const Space& space = *task_->space;
  ForkSnapshot copy{std::move(child), space.confinement.gadget, {task_->tid},
                    registers,        std::move(extended),      {},
                    space.memory};
  for (const Tid tid : tasks_here()) {
    if (tid.value == task_->tid) continue;
    RCHK_TRY_ASSIGN(OtherTask other, waiting_task(tid));
    copy.others.push_back(std::move(other));
  }
  return copy;
}

std::vector<Tid> Recorder::Impl::tasks_here() const {
  if (task_ == nullptr || finished_) return {};
  std::vector<Tid> found{{task_->tid}};
  for (const auto& [tid, task] : tasks_) {
    if (task.get() == task_ || task->space != task_->space || !task->announced) continue;
    found.push_back({tid});
  }
  return found;
}

Result<OtherTask> Recorder::Impl::waiting_task(Tid tid) const {
  const auto found = tasks_.find(tid.value);
  const bool here = task_ != nullptr && !finished_ && found != tasks_.end() &&
                    found->second->space == task_->space && found->second->announced;
  if (!here) return fail(ErrorKind::kGone, fmt::format("there is no task {} here", tid.value));
  const Task& task = *found->second;
  OtherTask other{tid, task.last_registers, {}};
  if (task.call) other.registers = task.call->before;
  if (const auto state = task.tracee.extended_state()) {
    other.extended_state = *state;
  } else if (const auto kept = states_.find(tid.value); kept != states_.end()) {
    other.extended_state = kept->second;  // it waits in a call
  }
  return other;
}

Result<bool> Recorder::Impl::log_calls_for_snapshot() {
  RCHK_TRY(require_guest());
  // A stop that such a call would be for a debugger has no place here: the task that stopped is
  // another one.
  RunLimits limits;
  limits.stop_at_breakpoints = false;
  limits_ = &limits;
  Result<bool> logged = log_ended_calls();
  if (logged && !*logged) logged = log_partial_stores();
  limits_ = nullptr;
  return logged;
}

}  // namespace rchk::record
