#include <cerrno>

#include <asm/prctl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "engine/record/fuse.h"
#include "engine/record/recorder_impl.h"
#include "engine/record/restarts.h"
#include "engine/syscalls/describe.h"

namespace rchk::record {

namespace {

using syscalls::Call;
using tracee::ResumeMode;
using tracee::StopStatus;
namespace nr = syscalls::nr;

constexpr uint64_t kArchGetCpuid = 0x1011;

// Puts a call back that a task was killed behind, before its event was written: it has come to its
// end all the same (add_end_of_killed_call()).
class PutBack {
 public:
  PutBack(Task& task, PendingCall& call) : task_(&task), call_(call) {}
  PutBack(const PutBack&) = delete;
  PutBack& operator=(const PutBack&) = delete;
  ~PutBack() {
    if (task_ != nullptr) task_->call = std::move(call_);
  }
  void dismiss() { task_ = nullptr; }

 private:
  Task* task_;
  PendingCall& call_;
};

// Calls behind which a signal may be waiting that the call itself sent or let through.
bool may_raise(const Call& call, int64_t result) {
  switch (call.number) {
    case nr::kill:
    case nr::tkill:
    case nr::tgkill:
    case nr::rt_sigqueueinfo:
    case nr::rt_tgsigqueueinfo:
    case nr::pidfd_send_signal:
    case nr::rt_sigreturn:
      return true;
    case nr::rt_sigprocmask:
      return call.arguments[1] != 0 && static_cast<int>(call.arguments[0]) != SIG_BLOCK;
    default:
      return result == -EPIPE || result == -EINTR || is_restart(result);
  }
}

std::optional<uint64_t> word_at(GuestAddress address, const syscalls::MemoryReader& memory) {
  uint64_t word = 0;
  if (memory.read(address, {reinterpret_cast<uint8_t*>(&word), 8}) != 8) return std::nullopt;
  return word;
}

// True for calls that make a copy of the caller's memory.
bool copies_memory(const Call& call, const syscalls::MemoryReader& memory) {
  switch (call.number) {
    case nr::fork:
      return true;
    case nr::clone:
      return (call.arguments[0] & CLONE_VM) == 0;
    case nr::clone3: {
      const auto flags = word_at({call.arguments[0]}, memory);
      return flags && (*flags & CLONE_VM) == 0;
    }
    default:
      return false;
  }
}

// Calls that may end another task's call, one that stores what it got.
bool may_feed_others(const Call& call) {
  switch (call.number) {
    case nr::write:
    case nr::writev:
    case nr::sendto:
    case nr::sendmsg:
    case nr::sendmmsg:
    case nr::sendfile:
    case nr::splice:
    case nr::tee:
    case nr::vmsplice:
    case nr::close:
    case nr::shutdown:
    case nr::msgsnd:
    case nr::mq_timedsend:
    case nr::kill:
    case nr::tkill:
    case nr::tgkill:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::optional<int64_t> Recorder::Impl::own_answer(const Call& call) const {
  if (const std::optional<int> refused = syscalls::refusal(call)) return -*refused;
  if (call.number == nr::arch_prctl && call.arguments[0] == kArchGetCpuid) return 1;
  return std::nullopt;
}

std::string Recorder::Impl::obstacle(const Call& call, const Registers& registers) {
  if (!tracee::in_long_mode(registers)) return fmt::format("32-bit code, at {}", registers.pc());
  const GuestReader memory(task_->tracee);
  // Reading the instruction each time would cost more than the rest of the entry.
  if (task_->space->known_call_sites.count(registers.pc()) == 0) {
    const GuestAddress site = registers.pc() - kSyscallInstructionBytes;
    if (instruction_at(site, task_->tracee).kind == InstructionKind::kInt80) {
      return fmt::format("32-bit system call {} by int 0x80 at {}", registers.orig_rax, site);
    }
    task_->space->known_call_sites.insert(registers.pc());
  }
  if (call.number == nr::clone3) {
    const auto flags = word_at(GuestAddress{call.arguments[0]}, memory);
    if (flags && (*flags & CLONE_UNTRACED) != 0) {
      return syscalls::describe_call(call, std::nullopt, &memory) +
             ": a task that asks not to be traced cannot be recorded";
    }
  }
  if (executes_unreadable(call)) {
    return syscalls::describe_call(call, std::nullopt, &memory) +
           ": the program may be executed, but not read";
  }
  const bool maps_file = call.number == nr::mmap && (call.arguments[3] & MAP_ANONYMOUS) == 0;
  if (maps_file && is_out_of_reach(call.descriptor(4))) {
    return syscalls::describe_call(call, std::nullopt, &memory) +
           ": a file that another program of the recording provides (FUSE)";
  }
  return {};
}

PendingCall call_at_entry(const Registers& now) {
  PendingCall call;
  call.before = now;
  call.before.rax = now.orig_rax;
  call.before.orig_rax = kNoCall;
  call.before.rip -= kSyscallInstructionBytes;
  call.at_entry = true;
  return call;
}

// Makes it so that the call at whose entry the guest stands has not begun.
Result<void> Recorder::Impl::take_call_back() {
  PendingCall call = std::move(*task_->call);
  task_->call.reset();
  Registers skip = call.before;
  skip.rip += kSyscallInstructionBytes;
  skip.orig_rax = kNoCall;
  RCHK_TRY(task_->tracee.set_registers(skip));
  RCHK_TRY(task_->tracee.resume_call());
  for (;;) {
    RCHK_TRY_ASSIGN(const StopStatus stop, task_->tracee.wait());
    if (stop.kind == StopStatus::Kind::kSyscall) break;
    if (stop.kind != StopStatus::Kind::kInterrupted) {
      return fail(ErrorKind::kGone, "the guest ended in a system call");
    }
    RCHK_TRY(task_->tracee.resume(ResumeMode::kSyscall));
  }
  if (call.breakpoints_were_in) task_->space->breakpoints.insert_all(task_->tracee);
  call.breakpoints_were_in = false;
  const Registers again = call.continued ? call.again : call.before;
  if (call.continued) task_->restarted = std::move(call);
  return task_->tracee.set_registers(again);
}

// Another task took the signal that ended task_'s call, and the kernel makes it anew: to the guest
// it is still the same call.
Result<Recorder::Impl::MaybeStop> Recorder::Impl::resume_interrupted(const Registers& registers) {
  PendingCall call = std::move(std::exchange(task_->interrupted, std::nullopt)->call);
  if (call.remainder) {
    RCHK_TRY(task_->tracee.write_memory(call.remainder->address, call.remainder->bytes));
    RCHK_TRY(add_call_made_again(*task_, call, {*call.remainder}));
  }
  call.continued = true;
  call.again = call.before;
  call.again.rax = registers.orig_rax;
  call.at_entry = true;
  task_->call = std::move(call);
  RCHK_TRY(point_to_scratch(registers));
  return MaybeStop();
}

Result<Recorder::Impl::MaybeStop> Recorder::Impl::on_call_entry(const RunLimits& limits) {
  RCHK_TRY_ASSIGN(const Registers registers, task_->tracee.registers());
  Result<MaybeStop> result = begin_call(registers, limits);
  // Where the recording ends with it, it is to be made once more.
  const bool failed = !result && result.error().kind != ErrorKind::kGone;
  if (failed && !task_->call) task_->call = call_at_entry(registers);
  return result;
}

Result<Recorder::Impl::MaybeStop> Recorder::Impl::begin_call(const Registers& registers,
                                                             const RunLimits& limits) {
  task_->pending_at_event = 0;
  task_->place_now.reset();
  note_call();
  const auto number = static_cast<int32_t>(registers.orig_rax);
  if (task_->interrupted &&
      registers.rip == task_->interrupted->call.before.rip + kSyscallInstructionBytes) {
    return resume_interrupted(registers);
  }
  task_->interrupted.reset();
  if (task_->restarted &&
      registers.rip == task_->restarted->before.rip + kSyscallInstructionBytes) {
    task_->call = std::exchange(task_->restarted, std::nullopt);
    task_->call->at_entry = true;
    RCHK_TRY(point_to_scratch(registers));
    // These end it, as they would have natively.
    for (const auto& [signal, infos] : task_->held) RCHK_TRY(send_marker(signal));
    return MaybeStop();
  }
  task_->restarted.reset();
  if (std::optional<Agent>& agent = task_->space->agent) {
    const AgentCode* const code = agent->within(registers.pc());
    // Of a task without the filter.
    if (code != nullptr && code->called == registers.pc()) agent->call_told = agent->calls_read + 1;
    count_calls(*task_->space, 0, 1);
  }
  PendingCall call = call_at_entry(registers);
  const Call made = syscalls::call_of(number, registers);
  RCHK_TRY_ASSIGN(const bool keeps_back, keeps_signals_back());
  if (keeps_back && task_->ticks.wait) {
    RCHK_TRY(release_held());
  } else if (keeps_back) {
    task_->call = std::move(call);
    RCHK_TRY(take_call_back());
    RCHK_TRY(release_held(trace::Place::kAtCall));
    return MaybeStop();
  }
  if (const std::string reason = obstacle(made, registers); !reason.empty()) {
    task_->call = std::move(call);
    RCHK_TRY_ASSIGN(RecorderStop stop, stop_recording(reason));
    return MaybeStop(std::move(stop));
  }
  const syscalls::Verdict verdict = judge(made, registers);
  const bool allowed = verdict.action == SECCOMP_RET_ALLOW || verdict.action == SECCOMP_RET_LOG;
  const bool exits = allowed && (number == nr::exit_group ||
                                 (number == nr::exit && live_tasks_of(*task_->process) == 1));
  if (exits && limits.stop_before_exit && !exit_reported_ && debugged(*task_)) {
    exit_reported_ = true;
    task_->call = std::move(call);
    RCHK_TRY(take_call_back());
    RecorderStop stop{.cause = StopCause::kAboutToExit};
    stop.status = static_cast<int>(made.arguments[0] & 0xff);
    return MaybeStop(std::move(stop));
  }
  if (task_->entry_reported != call.before.pc() && is_caught(number, limits)) {
    task_->entry_reported = call.before.pc();
    task_->call = std::move(call);
    RCHK_TRY(take_call_back());
    return MaybeStop(RecorderStop{.cause = StopCause::kSyscallEntry, .number = number});
  }
  if (!allowed) {
    RCHK_TRY(carry_out(verdict, call, made, registers, limits));
    task_->call = std::move(call);
    return MaybeStop();
  }
  if (syscalls::class_of(made) == syscalls::Class::kAddressSpace) {
    RCHK_TRY_ASSIGN(const bool again, clear_the_way_for(call, made));
    if (again) return MaybeStop();
  }
  if (exits) RCHK_TRY(log_ended_calls());  // memory is compared at the end
  RCHK_TRY(prepare_call(call, made, registers, limits));
  task_->call = std::move(call);
  RCHK_TRY(redirect_stores(registers));
  return MaybeStop();
}

bool Recorder::Impl::is_caught(int number, const RunLimits& limits) const {
  return limits.catches_syscall && debugged(*task_) && limits.catches_syscall(number);
}

// Calls that programs do without where they fail are left out: many try them at each start.
void Recorder::Impl::say_what_is_refused(const Call& made) {
  const std::optional<int> refused = syscalls::refusal(made);
  if (!refused) return;
  switch (made.number) {
    case nr::ptrace:
      return say_once(
          "The program uses ptrace, which is refused with EPERM: it is traced already. (If that is "
          "AddressSanitizer's search for leaks: ASAN_OPTIONS=detect_leaks=0 does without.)");
    case nr::modify_ldt:
    case nr::perf_event_open:
    case nr::fanotify_init:
    case nr::bpf:
    case nr::userfaultfd:
    case nr::memfd_secret:
      return say_once(fmt::format("The program uses {}, which is refused with {}.",
                                  syscalls::name(made.number), strerrorname_np(*refused)));
    case nr::prctl:
      if (made.arguments[0] != PR_SET_SYSCALL_USER_DISPATCH || made.arguments[1] == 0) return;
      return say_once(
          "The program wants some of its calls to become signals (prctl, "
          "PR_SET_SYSCALL_USER_DISPATCH), which is refused with EINVAL.");
    case nr::ioctl:
      return say_once("The program asks for a userfaultfd by ioctl, which is refused with EPERM.");
    default:
      return;
  }
}

// What has to be known of before the kernel runs a call, and done.
Result<void> Recorder::Impl::prepare_call(PendingCall& call, const Call& made, Registers registers,
                                          const RunLimits& limits) {
  call.entered_ns = now_ns();
  save_remainder(call);
  const GuestReader memory(task_->tracee);
  call.entry = syscalls::at_entry(made, memory);
  say_what_is_refused(made);
  call.answer = answer_about_sandbox(made);
  if (!call.answer) call.answer = answer_about_affinity(made);
  if (!call.answer) call.answer = answer_about_privileges(made);
  if (!call.answer) call.answer = own_answer(made);
  if (!call.answer && is_in_the_way_of(made)) {
    say_once(fmt::format("{} fails with ENOMEM: rchk has memory there that a call is storing to.",
                         syscalls::describe_call(made)));
    call.answer = -ENOMEM;
  }
  if (call.answer) {
    registers.orig_rax = kNoCall;
    RCHK_TRY(task_->tracee.set_registers(registers));
  }
  if (made.number == nr::clone && (made.arguments[0] & CLONE_UNTRACED) != 0) {
    registers.rdi &= ~static_cast<uint64_t>(CLONE_UNTRACED);
    RCHK_TRY(task_->tracee.set_registers(registers));
  }
  if (syscalls::is_exec(made.number) && !call.answer) call.words_left = words_left_by_exec();
  const bool snapshots = options_.snapshot_overhead_percent != 0 && may_block(call);
  if ((keep_states_ || snapshots) && tasks_.size() > 1) {
    RCHK_TRY_ASSIGN(states_[task_->tid], task_->tracee.extended_state());
  }
  if (!call.answer && is_doubtful(call)) {
    RCHK_TRY_ASSIGN(call.pages_before, writable_pages());
  }
  const syscalls::Class call_class = syscalls::class_of(made);
  const bool copied = call_class == syscalls::Class::kLife && copies_memory(made, memory);
  if (copied) before_fork(&limits);
  if (copied || call_class == syscalls::Class::kAddressSpace) {
    Space& space = *task_->space;
    if (made.number != nr::brk) space.known_call_sites.clear();
    // An int3 could be carried off with its page, or be taken for the guest's.
    call.breakpoints_were_in = space.breakpoints.inserted() && !space.breakpoints.empty();
    if (call.breakpoints_were_in) space.breakpoints.remove_all(task_->tracee);
  }
  return call.answer ? Result<void>() : tell_tracker_of_call(made);
}

Result<void> Recorder::Impl::note_pending_signals(const PendingCall& call, int64_t result) {
  const Call& made = call.entry.call;
  if (made.number == nr::rt_sigprocmask || made.number == nr::rt_sigreturn) {
    RCHK_TRY_ASSIGN(const uint64_t mask, task_->tracee.signal_mask());
    task_->traps_blocked = mask & kTrapSignals;
  }
  if (made.number == nr::rt_sigaction && result == 0 && made.arguments[1] != 0) {
    const auto signal = static_cast<int>(made.arguments[0]);
    const bool traps = signal > 0 && signal < SIGRTMIN && (kTrapSignals & signal_bit(signal)) != 0;
    const auto handler =
        traps ? word_at({made.arguments[1]}, GuestReader(task_->tracee)) : std::nullopt;
    if (handler) task_->process->trap_handlers[signal] = *handler;
  }
  if (call.answer || !may_raise(made, result)) return {};
  RCHK_TRY_ASSIGN(const SignalStatus status, read_signal_status(task_->tracee.pid()));
  task_->pending_at_event = status.pending & ~status.blocked;
  return {};
}

// Where the kernel writes when the thread ends (set_tid_address(2), set_robust_list(2)); and what
// else is a thread's own.
void Recorder::Impl::note_thread_words(const PendingCall& call, int64_t result) {
  const Call& made = call.entry.call;
  if (made.number == nr::set_tid_address) task_->clear_child_tid = {made.arguments[0]};
  if (made.number == nr::set_robust_list && result == 0) task_->robust_list = {made.arguments[0]};
  if (made.number == nr::personality) {
    task_->read_implies_exec = read_implies_exec(task_->tid);
  }
}

// Subreapers, and the first processes of pid namespaces.
void Recorder::Impl::note_adopter(const Call& made, int64_t result) {
  if (result < 0) return;
  uint64_t flags = 0;
  if (made.number == nr::clone || made.number == nr::unshare) flags = made.arguments[0];
  if (made.number == nr::clone3) {
    flags = word_at({made.arguments[0]}, GuestReader(task_->tracee)).value_or(0);
  }
  const bool reaps = made.number == nr::prctl && made.arguments[0] == PR_SET_CHILD_SUBREAPER &&
                     made.arguments[1] != 0;
  if (reaps || (flags & CLONE_NEWPID) != 0) has_adopters_ = true;
}

Recorder::Impl::MaybeStop Recorder::Impl::watchpoint_changed_by(
    const std::vector<trace::MemoryWrite>& writes, const RunLimits& limits) {
  MaybeStop stop;
  if (!limits.stop_at_breakpoints || watchpoints_.empty() || !debugged(*task_)) return stop;
  for (const trace::MemoryWrite& write : writes) {
    const auto hit =
        watchpoints_.changed_in(range_of(write.address, write.bytes.size()), task_->tracee);
    if (hit) stop = RecorderStop{.cause = StopCause::kWatchpoint, .address = hit->address};
  }
  return stop;
}

Result<Recorder::Impl::MaybeStop> Recorder::Impl::on_call_exit(const RunLimits& limits) {
  RCHK_TRY_ASSIGN(Registers after, task_->tracee.registers());
  auto result = static_cast<int64_t>(after.rax);
  auto end = CallEnd::kForGuest;
  const bool sigreturn = task_->call->entry.call.number == nr::rt_sigreturn;
  if (!task_->call->answer && !sigreturn && (result == -EINTR || is_restart(result))) {
    RCHK_TRY_ASSIGN(end, restart_interrupted(after));
    if (end == CallEnd::kMadeAgain) {
      // A fork that a stop ends whenever one is asked for would be made for ever: that stop can
      // come behind its entry each time, where nobody leaves the processor.
      if (others_can_run() && is_to_leave()) RCHK_TRY(leave_processor());
      return MaybeStop();
    }
  }
  PendingCall call = std::move(*task_->call);
  task_->call.reset();
  task_->entry_reported.reset();
  PutBack put_back(*task_, call);
  if (call.answer) {
    result = *call.answer;
    after.rax = static_cast<uint64_t>(result);
    RCHK_TRY(task_->tracee.set_registers(after));
  }
  if (call.scratch) {
    RCHK_TRY(bring_back_stores(*task_, call, after));
    result = static_cast<int64_t>(after.rax);
  }
  if (call.continued) RCHK_TRY(restore_time_out(call, after));
  RCHK_TRY_ASSIGN(trace::SyscallEvent event, event_of(call, after, result));
  if (call.breakpoints_were_in) task_->space->breakpoints.insert_all(task_->tracee);
  if (end == CallEnd::kForHandler) {
    put_back.dismiss();
    // Others may compute before the handler begins, and find what it has stored.
    if (!event.writes.empty()) {
      RCHK_TRY(add_call_made_again(*task_, call, std::exchange(event.writes, {})));
    }
    task_->interrupted = InterruptedCall{std::move(call), std::move(event)};
    return MaybeStop();
  }
  note_thread_words(call, result);
  note_adopter(call.entry.call, result);
  if (!reads_wait_for_more_ && !call.answer && result == 0) {
    reads_wait_for_more_ = asks_to_wait_for_more(call.entry.call, GuestReader(task_->tracee));
  }
  RCHK_TRY(note_pending_signals(call, result));
  put_back.dismiss();
  MaybeStop stop = watchpoint_changed_by(event.writes, limits);
  if (!stop && is_caught(event.number, limits)) {
    stop = RecorderStop{.cause = StopCause::kSyscallReturn, .number = event.number};
  }
  task_->last_registers = event.after;
  const std::vector<snapshot::FileId> mapped = files_mapped_by(event);
  RCHK_TRY(append(std::move(event)));
  RCHK_TRY(add_foreign_changes(call, result));
  RCHK_TRY(end_barred_agents());
  RCHK_TRY(end_redirection(call));
  RCHK_TRY(raise_trap(call));
  RCHK_TRY(end_agent_descriptors(call, mapped));
  RCHK_TRY(consider_agent(call, result));
  ++calls_done_;
  if (call.entry.call.number == nr::sched_yield) yielded_ = true;
  fed_others_ = may_feed_others(call.entry.call);
  if (call.spawned > 0) {
    const auto child = tasks_.find(call.spawned);
    if (child != tasks_.end()) RCHK_TRY(spawned_by_call(*child->second));
  } else {
    RCHK_TRY(checksum_if_due(task_->last_registers));
    RCHK_TRY(snapshot_if_due());
    RCHK_TRY(begin_anew_if_wanted());
    RCHK_TRY(track_if_wanted());
  }
  if (!limits.stop_at_forks || !debugged(*task_)) return stop;
  const auto made = call.spawned > 0 ? tasks_.find(call.spawned) : tasks_.end();
  MaybeStop fork;
  if (made != tasks_.end() && !debugged(*made->second)) {
    fork = RecorderStop{.cause = StopCause::kForked, .child = call.spawned};
  } else if (call.vforked > 0) {
    fork = RecorderStop{.cause = StopCause::kVforkDone, .child = call.vforked};
  }
  if (!fork) return stop;
  due_ = stop;
  return fork;
}

}  // namespace rchk::record
