#include "engine/record/recorder.h"

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <ctime>
#include <filesystem>

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cpus.h"
#include "engine/record/fuse.h"
#include "engine/record/recorder_impl.h"
#include "engine/trace/process_table.h"

namespace rchk::record {

namespace {

using tracee::ResumeMode;
using tracee::StopStatus;

// What snapshots of processes that share memory may take from the start on, besides their share.
constexpr uint64_t kSnapshotGraceNs = 250'000'000;
// What checksums at the ends of processes may take.
constexpr double kChecksumPercent = 3;
constexpr uint64_t kChecksumGraceNs = 300'000'000;

uint64_t clock_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// The core to record on. describe() and start() must agree on it, since some of what CPUID says
// differs from core to core; and recorders that run at the same time should not.
int choose_cpu(const RecorderOptions& options) {
  if (options.program.cpu) return *options.program.cpu;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return 0;
  int skip = getpid() % std::max(CPU_COUNT(&allowed), 1);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed) && skip-- == 0) return cpu;
  }
  return 0;
}

// Gives the calling thread its cores back if starting fails.
class AffinityGuard {
 public:
  explicit AffinityGuard(const std::vector<int>& allowed) : allowed_(allowed) {}
  ~AffinityGuard() {
    if (armed_) run_on(0, allowed_);
  }
  AffinityGuard(const AffinityGuard&) = delete;
  AffinityGuard& operator=(const AffinityGuard&) = delete;
  void release() { armed_ = false; }

 private:
  const std::vector<int>& allowed_;
  bool armed_ = true;
};

}  // namespace

trace::RecordingInfo Recorder::describe(const RecorderOptions& options) {
  trace::RecordingInfo info;
  utsname system{};
  if (uname(&system) == 0) {
    info.kernel_release = system.release;
    info.hostname = system.nodename;
  }
  info.start_unix_ns = static_cast<int64_t>(clock_ns(CLOCK_REALTIME));
  info.arguments = options.program.arguments;
  info.environment = options.program.environment;
  char directory[PATH_MAX];
  if (getcwd(directory, sizeof(directory)) != nullptr) info.working_directory = directory;
  const Result<std::vector<int>> allowed = tracee::pin_to_cpu(choose_cpu(options));
  info.cpuid_trapped = cpuid_can_trap();
  info.tsc_trapped = tsc_can_trap();
  info.xcr0 = read_xcr0();
  info.processor_id = read_processor_id();
  info.cpuid = cpuid_table(info.cpuid_trapped);
  if (allowed) run_on(0, *allowed);
  return info;
}

Result<std::unique_ptr<Recorder>> Recorder::start(RecorderOptions options, trace::EventSink& sink) {
  const int cpu = choose_cpu(options);
  options.program.cpu = cpu;
  RCHK_TRY_ASSIGN(const std::vector<int> allowed, tracee::pin_to_cpu(cpu));
  AffinityGuard guard(allowed);
  RCHK_TRY_ASSIGN(tracee::Tracee tracee, tracee::Tracee::spawn(options.program));
  auto impl = std::make_unique<Impl>(std::move(options), sink, std::move(tracee));
  impl->allowed_cpus_ = allowed;
  RCHK_TRY(impl->take_image());
  impl->leave_real_time();
  guard.release();
  return std::unique_ptr<Recorder>(new Recorder(std::move(impl)));
}

Recorder::Recorder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Recorder::~Recorder() = default;

Recorder::Impl::Impl(RecorderOptions options, trace::EventSink& sink, tracee::Tracee tracee)
    : options_(std::move(options)),
      sink_(sink),
      files_(sink),
      trap_cpuid_(cpuid_can_trap()),
      trap_tsc_(tsc_can_trap() && !options_.patch_counter),
      untrapped_instructions_({.rdrand = processor_has(trace::TrappedInstruction::kRdrand),
                               .rdseed = processor_has(trace::TrappedInstruction::kRdseed),
                               .counter = !trap_tsc_,
                               // Where RDTSC is the host's, CPUID's answers are.
                               .cpuid = !trap_tsc_ && !trap_cpuid_}),
      snapshot_budget_(options_.snapshot_overhead_percent, kSnapshotGraceNs),
      checksum_budget_(kChecksumPercent, kChecksumGraceNs) {
  auto task = std::make_unique<Task>(std::move(tracee));
  first_pid_ = task->tid;
  task->process = std::make_shared<Process>();
  task->process->pid = task->tid;
  task->streams = std::make_shared<OutputStreams>();
  task_ = task.get();
  tasks_[task->tid] = std::move(task);
  std::error_code error;
  const std::string descriptors = fmt::format("/proc/{}/fd", first_pid_);
  for (const auto& entry : std::filesystem::directory_iterator(descriptors, error)) {
    note_descriptor(std::atoi(entry.path().filename().c_str()));
  }
  if (options_.chaos_seed) chaos_.emplace(*options_.chaos_seed);
  start_ns_ = monotonic_ns();
  next_checksum_ns_ = std::chrono::nanoseconds(options_.checksum_interval).count();
}

Recorder::Impl::~Impl() {
  wait_for_held_forks();
  kill_all();
  run_on(0, allowed_cpus_);
}

Result<void> Recorder::Impl::take_image() {
  Task& task = *task_;
  task.tracee.forget_memory();
  task.armed.clear();
  const Registers last_registers = task.last_registers;
  std::optional<PendingCall> call = std::exchange(task.call, std::nullopt);
  task.restarted.reset();
  task.interrupted.reset();
  task.clear_child_tid = {};
  task.robust_list = {};
  task.read_implies_exec = read_implies_exec(task.tid);
  const std::shared_ptr<Space> left = std::exchange(task.space, new_space());
  const bool ends = left.use_count() == 1;
  const Result<void> taken = take_new_image(ends ? std::optional(left->number) : std::nullopt);
  if (!taken) {
    // Nothing tells of the new one: the end of the recording belongs to the memory that it had, and
    // the task ends in its call.
    if (left != nullptr) task.space->number = left->number;
    task.last_registers = last_registers;
    task.call = std::move(call);
  }
  return taken;
}

Result<void> Recorder::Impl::take_new_image(std::optional<uint32_t> left) {
  Task& task = *task_;
  if (debugged(task)) {
    for (const GuestAddress address : debugger_breakpoints_) task.space->breakpoints.add(address);
  }
  const bool reports = limits_ == nullptr || limits_->stop_at_breakpoints;
  task.space->breakpoints.report(reports && debugged(task));
  if (event_count_ != 0) task.streams->on_exec();
  // From the stop in execve to the one behind it.
  for (;;) {
    RCHK_TRY(task.tracee.resume(ResumeMode::kSyscall));
    RCHK_TRY_ASSIGN(const StopStatus stop, task.tracee.wait());
    if (stop.kind == StopStatus::Kind::kSyscall) break;
    if (stop.is_gone() || stop.kind == StopStatus::Kind::kEvent) {
      if (event_count_ != 0) task.unread = stop;
      return fail(ErrorKind::kGone, "the program ended before it started");
    }
  }
  RCHK_TRY_ASSIGN(Registers registers, task.tracee.registers());
  registers.orig_rax = ~0ull;
  RCHK_TRY(task.tracee.set_registers(registers));
  if (!tracee::in_long_mode(registers)) {
    RCHK_TRY(set_free_by_its_own_code(task.tracee));
    return fail(ErrorKind::kUnsupported, "a 32-bit program cannot be recorded");
  }
  Result<Confinement> confined = confine(task.tracee, trap_cpuid_, trap_tsc_);
  if (!confined && confined.error().errno_value == EACCES) {
    return fail(ErrorKind::kUnsupported,
                "a program that may be executed, but not read, cannot be recorded");
  }
  if (!confined) return Failure(confined.error());
  task.space->confinement = *std::move(confined);
  if (provides_files_ && maps_from_fuse(task.tid)) {
    return fail(ErrorKind::kUnsupported,
                "a program that another one of the recording provides (FUSE) cannot be recorded");
  }
  RCHK_TRY_ASSIGN(trace::ExecEvent event,
                  describe_image(task.tracee, files_, task.space->confinement,
                                 [this](std::string_view text) { say(text); }));
  for (const trace::Mapping& mapping : event.mappings) task.space->memory.map(mapping);
  task.space->brk = event.brk;
  task.last_registers = event.registers;
  set_hooks(event);
  std::vector<snapshot::FileId> mapped;
  for (const trace::Mapping& mapping : event.mappings) {
    RCHK_TRY(look_at_code(mapping, event.contents));
    if (!mapping.backing) continue;
    mapped.push_back(mapping.backing->file);
    if (!mapping.shared) files_.note_private_view(mapping.backing->file);
  }
  if (left) RCHK_TRY(sink_.end_space(*left));
  task.space->program = {event_count_};
  task.space->facts = std::make_shared<const ProgramFacts>(
      ProgramFacts{event.executable, trace::arguments_of(event), event.auxv});
  RCHK_TRY(append(std::move(event)));
  return end_agent_files(mapped);
}

Result<void> Recorder::Impl::append_of(Task& task, trace::EventBody body) {
  return append_at(now_ns(), task, std::move(body));
}

Result<void> Recorder::Impl::append_at(uint64_t time_ns, Task& task, trace::EventBody body) {
  trace::Event event{time_ns, std::move(body), {task.tid}, task.space->number};
  if (!std::holds_alternative<trace::MemoryEvent>(event.body)) {
    task.signal_event_is_last = std::holds_alternative<trace::SignalEvent>(event.body);
  }
  if (const auto* call = std::get_if<trace::SyscallEvent>(&event.body)) {
    task.is_behind_handler = call->number == syscalls::nr::rt_sigreturn;
  } else if (task.signal_event_is_last || std::holds_alternative<trace::TrapEvent>(event.body)) {
    task.is_behind_handler = false;
  }
  const auto* change = std::get_if<trace::SwitchEvent>(&event.body);
  if (!std::holds_alternative<trace::MemoryEvent>(event.body)) {
    task.stands_in_call = change != nullptr && change->place == trace::Place::kAtCall;
  }
  last_event_ns_ = event.time_ns;
  RCHK_TRY(sink_.append(event));
  note_for_snapshots(*task.space, event.body);
  ++event_count_;
  task.behind_event = true;
  RCHK_TRY(note_names(task, event.body));
  const bool ends = std::holds_alternative<trace::ExitEvent>(event.body);
  return ends ? sink_.end_space(task.space->number) : Result<void>();
}

uint64_t Recorder::Impl::now_ns() const { return monotonic_ns() - start_ns_; }

void Recorder::Impl::say(std::string_view text) {
  if (!options_.message) return;
  const TscMirror::Pause pause(tsc_mirror_);
  options_.message(text);
}

void Recorder::Impl::say_once(const std::string& text) {
  if (said_.insert(text).second) say(text);
}

Result<void> Recorder::Impl::require_guest() const {
  if (!finished_) return {};
  return fail(ErrorKind::kGone, "the program is not there any more");
}

void Recorder::Impl::change_breakpoint(GuestAddress address, bool on) {
  if (on) {
    debugger_breakpoints_.insert(address);
  } else {
    debugger_breakpoints_.erase(address);
  }
  for (const auto& [tid, task] : tasks_) {
    if (!debugged(*task)) continue;
    if (on) {
      task->space->breakpoints.add(address);
    } else {
      task->space->breakpoints.remove(address);
    }
  }
}

const snapshot::AddressSpace& Recorder::Impl::address_space() const {
  return task_ != nullptr ? task_->space->memory : last_memory_;
}

pid_t Recorder::Impl::pid() const { return task_ != nullptr ? task_->process->pid : first_pid_; }

Tid Recorder::Impl::tid() const { return {task_ != nullptr ? task_->tid : first_pid_}; }

// A call that is made again looks as it did the first time.
Result<Registers> Recorder::Impl::registers() const {
  RCHK_TRY(require_guest());
  if (task_->state == TaskState::kRunning) {
    return task_->call ? task_->call->before : task_->last_registers;
  }
  RCHK_TRY_ASSIGN(Registers registers, task_->tracee.registers());
  if (task_->restarted && registers.rip == task_->restarted->before.rip) {
    return task_->restarted->before;
  }
  if (task_->interrupted) return task_->interrupted->call.before;
  return registers;
}

Result<RecorderStop> Recorder::run(const RunLimits& limits) { return impl_->run(limits); }

Result<RecorderStop> Recorder::stop_recording(std::string_view reason) {
  return impl_->stop_recording(reason);
}

Result<StopStatus> Recorder::wait_for_guest() { return impl_->wait_for_guest(); }

Result<void> Recorder::insert_breakpoint(GuestAddress address) {
  impl_->change_breakpoint(address, true);
  return {};
}

Result<void> Recorder::remove_breakpoint(GuestAddress address) {
  impl_->change_breakpoint(address, false);
  return {};
}

Result<void> Recorder::insert_watchpoint(const HardwareWatchpoint& watchpoint) {
  return impl_->watchpoints_.add(watchpoint);
}

Result<void> Recorder::remove_watchpoint(const HardwareWatchpoint& watchpoint) {
  impl_->watchpoints_.remove(watchpoint);
  return {};
}

Result<Registers> Recorder::registers() const { return impl_->registers(); }

Result<ExtendedState> Recorder::extended_state() const {
  RCHK_TRY(impl_->require_guest());
  if (!waits()) return impl_->task_->tracee.extended_state();
  RCHK_TRY_ASSIGN(OtherTask waiting, impl_->waiting_task(tid()));
  return std::move(waiting.extended_state);
}

bool Recorder::waits() const {
  return impl_->require_guest() && impl_->task_->state == TaskState::kRunning;
}

size_t Recorder::read_memory(GuestAddress address, std::span<uint8_t> bytes) const {
  return impl_->require_guest() ? impl_->task_->tracee.read_memory(address, bytes) : 0;
}

const snapshot::AddressSpace& Recorder::address_space() const { return impl_->address_space(); }
uint64_t Recorder::event_count() const { return impl_->event_count_; }
pid_t Recorder::pid() const { return impl_->pid(); }
Tid Recorder::tid() const { return impl_->tid(); }

bool Recorder::stands_at_event() const {
  return impl_->require_guest() && impl_->task_->behind_event;
}

std::optional<siginfo_t> Recorder::signal_info() const {
  if (!impl_->require_guest()) return std::nullopt;
  return impl_->task_->signal;
}

std::vector<Tid> Recorder::tasks() const { return impl_->tasks_here(); }

Result<Registers> Recorder::registers(Tid task) const {
  if (task == tid()) return registers();
  RCHK_TRY_ASSIGN(const OtherTask other, impl_->waiting_task(task));
  return other.registers;
}

Result<ExtendedState> Recorder::extended_state(Tid task) const {
  if (task == tid()) return extended_state();
  RCHK_TRY_ASSIGN(OtherTask other, impl_->waiting_task(task));
  return std::move(other.extended_state);
}

Result<bool> Recorder::log_ended_calls() { return impl_->log_calls_for_snapshot(); }
Result<ForkSnapshot> Recorder::fork_snapshot() { return impl_->fork_snapshot(); }

}  // namespace rchk::record
