#include "gdbserver/target/timeline_target.h"

#include <algorithm>
#include <csignal>
#include <cstring>

#include "engine/translate/decode.h"
#include "gdbserver/target/proc_files.h"

namespace rchk::target {

using timeline::StopKind;

namespace {

class View final : public MachineView {
 public:
  View(const Registers& registers, const timeline::ReadMemory& read)
      : registers_(registers), read_(read) {}
  const Registers& registers() const override { return registers_; }
  size_t read_memory(GuestAddress address, std::span<uint8_t> bytes) const override {
    return read_(address, bytes);
  }

 private:
  const Registers& registers_;
  const timeline::ReadMemory& read_;
};

timeline::Condition condition_of(const StopPoint& point) {
  if (point.conditions.empty()) return {};
  return [&point](const Registers& registers, const timeline::ReadMemory& read) {
    return point.stops_at(View(registers, read));
  };
}

translate::WatchKind watch_kind(StopPointKind kind) {
  switch (kind) {
    case StopPointKind::kReadWatchpoint:
      return translate::WatchKind::kRead;
    case StopPointKind::kAccessWatchpoint:
      return translate::WatchKind::kAccess;
    case StopPointKind::kWriteWatchpoint:
    case StopPointKind::kSoftwareBreakpoint:
    case StopPointKind::kHardwareBreakpoint:
      break;
  }
  return translate::WatchKind::kWrite;
}

Result<void> require_thread(const replay::Guest& guest, Tid thread) {
  if (guest.has_task(thread)) return {};
  return fail(ErrorKind::kGone, fmt::format("there is no thread {} at this point", thread.value));
}

}  // namespace

TimelineTarget::TimelineTarget(timeline::Timeline& timeline, Hooks hooks)
    : timeline_(timeline), hooks_(std::move(hooks)) {
  stop_ = make_stop(SignalStop{SIGTRAP});
  read_bookmarks();
}

Tid TimelineTarget::process() const { return {timeline_.process()}; }

Tid TimelineTarget::running_thread() {
  if (diversion_) return diversion_->guest().tid;
  const Tid running = timeline_.running_task();
  return running.value != 0 ? running : process();
}

// The leader comes first, whichever runs.
std::vector<ThreadInfo> TimelineTarget::threads() {
  std::vector<Tid> all;
  if (diversion_) {
    all.push_back(diversion_->guest().tid);
    for (const auto& [tid, waiting] : diversion_->guest().others) all.push_back(tid);
  } else {
    all = timeline_.tasks();
  }
  const Tid leader = process();
  std::sort(all.begin(), all.end(), [leader](Tid a, Tid b) {
    return std::pair(a != leader, a.value) < std::pair(b != leader, b.value);
  });
  std::vector<ThreadInfo> found;
  for (const Tid tid : all) found.push_back({tid, name_of(tid)});
  return found;
}

// Any bytes may be in a name, and be cut off after 15 of them: for XML and JSON, a ? stands for
// each that is no printable ASCII.
std::string TimelineTarget::name_of(Tid thread) {
  std::string name = timeline_.name_of(thread);
  const auto is_printable = [](char c) { return c >= ' ' && c <= '~'; };
  std::replace_if(
      name.begin(), name.end(), [&](char c) { return !is_printable(c); }, '?');
  return name;
}

XsaveLayout TimelineTarget::xsave_layout() const {
  XsaveLayout layout = XsaveLayout::of_this_machine();
  const trace::RecordingInfo& info = timeline_.source().info();
  if (info.xcr0 != 0) layout.components = info.xcr0;
  for (const trace::CpuidLeaf& leaf : info.cpuid) {
    if (leaf.leaf == 0xd && leaf.subleaf >= 2 && leaf.subleaf < XsaveLayout::kMaxComponents) {
      layout.offsets[leaf.subleaf] = leaf.ebx;
    }
  }
  return layout;
}

Result<Diversion*> TimelineTarget::diversion() {
  if (!diversion_) {
    RCHK_TRY_ASSIGN(replay::Guest copy, timeline_.diversion());
    RCHK_TRY(debugger_memory_.map_into(*copy.puppet));
    trace::EventSource& source = timeline_.source();
    const EventNumber last{source.event_count() - 1};
    RCHK_TRY_ASSIGN(const auto event, source.event(std::min(copy.position.event, last)));
    const auto since_begin_ns = static_cast<int64_t>(event->time_ns);
    diversion_ =
        std::make_unique<Diversion>(timeline_.replayer(), std::move(copy),
                                    source.info().start_unix_ns + since_begin_ns, since_begin_ns);
  }
  return diversion_.get();
}

void TimelineTarget::end_diversion() {
  if (diversion_) debugger_memory_.take_from(*diversion_->guest().puppet);
  diversion_.reset();
}

Result<Registers> TimelineTarget::read_registers(Tid thread) {
  if (!diversion_) return timeline_.registers(thread);
  const replay::Guest& guest = diversion_->guest();
  if (thread == guest.tid) return guest.registers;
  RCHK_TRY(require_thread(guest, thread));
  return guest.others.at(thread).registers;
}

// The thread that is written to is the one that a diversion runs.
Result<void> TimelineTarget::write_registers(Tid thread, const Registers& registers) {
  RCHK_TRY_ASSIGN(Diversion * detour, diversion());
  RCHK_TRY(require_thread(detour->guest(), thread));
  RCHK_TRY(detour->choose(thread));
  detour->guest().registers = registers;
  return {};
}

Result<ExtendedState> TimelineTarget::read_extended_state(Tid thread) {
  if (!diversion_) return timeline_.extended_state(thread);
  const replay::Guest& guest = diversion_->guest();
  if (thread == guest.tid) return guest.puppet->extended_state();
  RCHK_TRY(require_thread(guest, thread));
  return guest.others.at(thread).extended_state;
}

Result<void> TimelineTarget::write_extended_state(Tid thread, const ExtendedState& state) {
  RCHK_TRY_ASSIGN(Diversion * detour, diversion());
  RCHK_TRY(require_thread(detour->guest(), thread));
  RCHK_TRY(detour->choose(thread));
  return detour->guest().puppet->set_extended_state(state);
}

size_t TimelineTarget::read_memory(GuestAddress address, std::span<uint8_t> bytes) {
  const size_t got = read_as_it_is(address, bytes);
  show_unpatched(address, bytes.first(got));
  return got;
}

size_t TimelineTarget::read_as_it_is(GuestAddress address, std::span<uint8_t> bytes) {
  if (diversion_) return diversion_->guest().puppet->read_memory(address, bytes);
  const size_t got = timeline_.read_memory(address, bytes);
  return got != 0 ? got : debugger_memory_.read(address, bytes);
}

// RDRAND and its like in code as the program has them, not as the recorder has patched them.
void TimelineTarget::show_unpatched(GuestAddress address, std::span<uint8_t> bytes) {
  for (size_t at = 0; at < bytes.size(); ++at) {
    const auto offset = translate::offset_if_patched(bytes[at]);
    if (!offset) continue;
    const bool begins_inside = *offset <= at;
    if (begins_inside && *offset != 0 && bytes[at - *offset] != translate::kTwoByteOpcode) continue;
    uint8_t code[translate::kMostPatchedBytes] = {};
    translate::Instruction instruction;
    const size_t got = read_as_it_is(address + at - *offset, code);
    if (translate::decode(code, got, instruction) != translate::DecodeStatus::kOk) continue;
    const auto patch = translate::patched_byte(instruction);
    if (!patch || patch->offset != *offset || code[*offset] != patch->patched) continue;
    const auto space = timeline_.space();
    const trace::Mapping* const mapping = space ? space->find(address + at) : nullptr;
    if (mapping == nullptr || !mapping->executable()) continue;
    if (is_patched_there(*mapping, address + at, *patch)) bytes[at] = patch->original;
  }
}

// Whether the patch's byte at `where` stands in the place of one of the mapped file. The shorter
// ones may be a part of another instruction.
bool TimelineTarget::is_patched_there(const trace::Mapping& mapping, GuestAddress where,
                                      const translate::PatchedByte& patch) {
  if (!mapping.backing) return patch.patched == translate::kPatchedRandom;
  const uint64_t offset = mapping.backing->offset_bytes + (where - mapping.range.begin);
  const auto bytes = timeline_.source().file_bytes(mapping.backing->file, offset, 1);
  return bytes && bytes->size() == 1 && bytes->front() == patch.original;
}

// Whether `address` is in memory that was allocated for the debugger, and the program has none
// there.
bool TimelineTarget::is_debuggers(GuestAddress address) {
  if (!debugger_memory_.holds(address)) return false;
  const auto space = timeline_.space();
  return space && space->find(address) == nullptr;
}

Result<GuestAddress> TimelineTarget::allocate(uint64_t size_bytes, int protection) {
  const auto space = timeline_.space();
  if (!space) return tl::make_unexpected(space.error());
  RCHK_TRY_ASSIGN(const GuestAddress address,
                  debugger_memory_.allocate(size_bytes, static_cast<uint8_t>(protection), *space));
  if (diversion_) RCHK_TRY(debugger_memory_.map_into(*diversion_->guest().puppet, address));
  return address;
}

Result<void> TimelineTarget::deallocate(GuestAddress address) {
  RCHK_TRY_ASSIGN(const AddressRange range, debugger_memory_.deallocate(address));
  if (!diversion_) return {};
  timeline_.replayer().engine().invalidate(range);
  return diversion_->guest().puppet->unmap_guest(range);
}

Result<void> TimelineTarget::write_memory(GuestAddress address, ByteView bytes) {
  if (!diversion_ && is_debuggers(address) && debugger_memory_.write(address, bytes)) return {};
  RCHK_TRY_ASSIGN(Diversion * detour, diversion());
  timeline_.replayer().engine().invalidate(range_of(address, bytes.size()));
  if (is_debuggers(address)) return detour->guest().puppet->write_memory(address, bytes);
  return detour->write_memory(address, bytes);
}

Result<void> TimelineTarget::insert(const StopPoint& point) {
  RCHK_TRY(remove(point.kind, point.range));
  points_.push_back(point);
  return {};
}

Result<void> TimelineTarget::remove(StopPointKind kind, AddressRange range) {
  std::erase_if(points_,
                [&](const StopPoint& point) { return point.kind == kind && point.range == range; });
  return {};
}

// Breakpoints first, then watchpoints, each in the order of points_: stop_from() counts alike.
timeline::StopPoints TimelineTarget::stop_points() const {
  timeline::StopPoints result;
  for (const StopPoint& point : points_) {
    if (is_breakpoint(point.kind)) {
      result.breakpoints.push_back({point.range.begin, condition_of(point)});
    } else {
      result.watches.push_back({point.range, watch_kind(point.kind), condition_of(point)});
    }
  }
  result.quiet_signals = silent_signals_;
  result.syscalls = caught_syscalls_;
  result.forks = family_hooks_.forks;
  result.vforks_done = family_hooks_.vforks_done;
  return result;
}

void TimelineTarget::inherit(Inherited from) {
  points_ = std::move(from.points);
  silent_signals_ = from.silent_signals;
  caught_syscalls_ = std::move(from.caught_syscalls);
}

void TimelineTarget::set_silent_signals(const std::vector<int>& signals) {
  silent_signals_ = 0;
  for (const int signal : signals) {
    if (signal >= 1 && signal <= 64) silent_signals_ |= 1ull << (signal - 1);
  }
}

StopPoint TimelineTarget::nth_point(bool breakpoint, uint32_t index) const {
  for (const StopPoint& point : points_) {
    if (is_breakpoint(point.kind) == breakpoint && index-- == 0) return point;
  }
  return {};
}

Stop TimelineTarget::stop_from(const timeline::TimelineStop& stop) {
  const auto nth = [&](bool breakpoint) { return nth_point(breakpoint, stop.index); };
  switch (stop.kind) {
    case StopKind::kBreakpoint:
      return make_stop(BreakpointHit{nth(true).kind});
    case StopKind::kWatchpoint: {
      const StopPoint point = nth(false);
      return make_stop(WatchpointHit{point.kind, point.range.begin});
    }
    case StopKind::kStepped:
      return make_stop(StepDone{});
    case StopKind::kSignal:
      return make_stop(SignalStop{stop.number});
    case StopKind::kSyscallEntry:
      return make_stop(SyscallStop{stop.number, false});
    case StopKind::kSyscallReturn:
      return make_stop(SyscallStop{stop.number, true});
    case StopKind::kExec:
      // Breakpoints go with the memory that they were in: a debugger puts them in anew.
      points_.clear();
      return make_stop(Exec{stop.text});
    case StopKind::kFork:
      return make_stop(Forked{{stop.number}, false});
    case StopKind::kVfork:
      return make_stop(Forked{{stop.number}, true});
    case StopKind::kVforkDone:
      return make_stop(VforkDone{});
    case StopKind::kHistoryBegin:
      return make_stop(HistoryBegin{});
    case StopKind::kHistoryEnd:
      return make_stop(HistoryEnd{});
    case StopKind::kExiting:
      return make_stop(Exiting{stop.text});
    case StopKind::kInterrupted:
      return make_stop(Interrupted{});
    case StopKind::kUnsupported:
      return make_stop(Unsupported{stop.text});
  }
  return make_stop(StepDone{});
}

void TimelineTarget::pass_output(RunControl& control) {
  if (!hooks_.take_output) return;
  const std::string text = hooks_.take_output();
  if (!text.empty()) control.console(text);
}

Result<Stop> TimelineTarget::resume_within(const ResumeRequest& request, RunControl& control,
                                           const Bounds& bounds) {
  RCHK_TRY(before_move());
  // Once asked to stop, stay so: several layers look.
  const auto interrupted = [this, &control, asked = std::make_shared<bool>(false)] {
    pass_output(control);
    if (!*asked) *asked = control.interrupted();
    return *asked;
  };
  if (diversion_ && (!diversion_->is_under_way() || request.direction == Direction::kBackward)) {
    if (diversion_->is_changed()) {
      control.console(
          "rchk: the change of memory is dropped: neither a recording changes nor what is being "
          "recorded\n");
    }
    end_diversion();
  }
  if (diversion_) {
    Diversion::Command command;
    command.single_step = request.kind != ResumeKind::kContinue;
    command.interrupted = interrupted;
    command.console = [&control](std::string_view text) { control.console(text); };
    for (const StopPoint& point : points_) {
      if (is_breakpoint(point.kind)) {
        command.breakpoints.push_back(point.range.begin);
      } else {
        command.watchpoints.push_back({point.range, watch_kind(point.kind)});
      }
    }
    RCHK_TRY_ASSIGN(const Diversion::Outcome outcome, diversion_->run(command));
    switch (outcome.end) {
      case Diversion::End::kBreakpoint:
        return stop_ = make_stop(BreakpointHit{});
      case Diversion::End::kWatchpoint: {
        const StopPoint point = nth_point(false, outcome.watch);
        return stop_ = make_stop(WatchpointHit{point.kind, point.range.begin});
      }
      case Diversion::End::kStepped:
        return stop_ = make_stop(StepDone{});
      case Diversion::End::kSignal:
        return stop_ = make_stop(SignalStop{outcome.signal});
      case Diversion::End::kInterrupted:
        return stop_ = make_stop(Interrupted{});
      case Diversion::End::kExit:
        return stop_ = make_stop(Exiting{fmt::format(
                   "the copy of the program that was changed, or that a function was called in, "
                   "ends with status {}; the recording is as before",
                   outcome.status)});
    }
  }

  timeline::RunCommand command;
  switch (request.kind) {
    case ResumeKind::kContinue:
      command.kind = timeline::RunKind::kContinue;
      break;
    case ResumeKind::kStep:
      command.kind = timeline::RunKind::kStep;
      break;
    case ResumeKind::kRangeStep:
      command.kind = timeline::RunKind::kRangeStep;
      break;
  }
  command.range = request.range;
  command.signal = request.signal;
  command.task = request.thread;
  command.alone = request.alone;
  command.until = bounds.until;
  command.goes_on = bounds.goes_on;
  command.interrupted = interrupted;
  timeline_.set_stop_points(stop_points());
  // gdb steps a thread off its breakpoint alone as well: nothing that happens meanwhile is to be
  // lost.
  const bool is_stepped_off =
      request.kind == ResumeKind::kStep && running_thread() == request.thread;
  const bool others_count = !request.alone || is_stepped_off;
  for (;;) {
    auto found = request.direction == Direction::kForward ? timeline_.forward(command)
                                                          : timeline_.backward(command);
    pass_output(control);
    if (!found) return tl::make_unexpected(found.error());
    stop_ = stop_from(*found);
    if (found->task.value != 0) stop_.thread = found->task;
    if (others_count || !is_of_another(request.thread)) break;
    if (interrupted()) {
      stop_.event = Interrupted{};
      break;
    }
    command.goes_on = false;  // over this one
  }
  if (!others_count && stop_.thread != request.thread &&
      !std::holds_alternative<Exec>(stop_.event)) {
    const std::vector<ThreadInfo> all = threads();
    const auto is_it = [&](const ThreadInfo& one) { return one.tid == request.thread; };
    if (std::any_of(all.begin(), all.end(), is_it)) stop_.thread = request.thread;
  }
  return stop_;
}

// Whether the last stop is of a thread that a debugger has not let go, and does not expect to hear
// of (gdb with scheduler-locking). A replay goes by its log, and runs all.
bool TimelineTarget::is_of_another(Tid thread) const {
  const StopEvent& event = stop_.event;
  const bool is_of_one = std::holds_alternative<BreakpointHit>(event) ||
                         std::holds_alternative<WatchpointHit>(event) ||
                         std::holds_alternative<SignalStop>(event) ||
                         std::holds_alternative<SyscallStop>(event);
  return is_of_one && stop_.thread != thread;
}

Result<void> TimelineTarget::kill() { return hooks_.kill ? hooks_.kill() : Result<void>(); }

Result<void> TimelineTarget::detach() { return hooks_.detach ? hooks_.detach() : Result<void>(); }

MemoryRegion TimelineTarget::region_at(GuestAddress address) {
  MemoryRegion region;
  region.range = {address.page_floor(), {~0ull}};
  auto space = timeline_.space();
  if (!space) return region;
  debugger_memory_.add_to(*space);
  GuestAddress gap_begin{0};
  for (const auto& [begin, mapping] : space->mappings()) {
    if (mapping.range.contains(address)) {
      return {mapping.range,        true,        mapping.readable(), mapping.writable(),
              mapping.executable(), mapping.name};
    }
    if (begin > address) {
      region.range.end = begin;
      break;
    }
    gap_begin = mapping.range.end;
  }
  region.range.begin = gap_begin;
  return region;
}

Result<const trace::ExecEvent*> TimelineTarget::program() {
  RCHK_TRY_ASSIGN(program_, timeline_.program());
  return &std::get<trace::ExecEvent>(program_->body);
}

Result<Bytes> TimelineTarget::auxiliary_vector_bytes() {
  RCHK_TRY_ASSIGN(const trace::ExecEvent* exec, program());
  return exec->auxv;
}

Result<std::string> TimelineTarget::executable_path() {
  RCHK_TRY_ASSIGN(const trace::ExecEvent* exec, program());
  return exec->executable;
}

Result<Bytes> TimelineTarget::read_siginfo(Tid) {
  RCHK_TRY_ASSIGN(auto info, timeline_.signal_info());
  if (!info) return fail(ErrorKind::kUnsupported, "the thread does not stand at a signal");
  return std::move(*info);
}

Result<void> TimelineTarget::write_siginfo(Tid, ByteView) { return {}; }

Result<Stop> TimelineTarget::restart_program() {
  RCHK_TRY(before_move());
  end_diversion();
  RCHK_TRY(timeline_.seek({}));
  return stop_ = make_stop(SignalStop{SIGTRAP});
}

// What proc(5) said of the process at this point of its history. The machine's own files tell of
// the live end, or of another process that has this number now.
std::optional<ByteView> TimelineTarget::process_file(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  std::string text;
  if (name == "maps" || name == "smaps") {
    const auto space = timeline_.space();
    if (!space) return std::nullopt;
    text = maps_text(*space);
  } else if (timeline_.has_live_end()) {
    return std::nullopt;
  } else if (name == "cmdline") {
    for (const std::string& word : timeline_.source().info().arguments) text += word + '\0';
  }
  const auto bytes = reinterpret_cast<const uint8_t*>(text.data());
  process_files_.emplace_back(bytes, bytes + text.size());
  return ByteView(process_files_.back());
}

// /proc/PID/exe of this machine may be that of another process.
std::optional<std::string> TimelineTarget::embedded_link(std::string_view path) {
  if (timeline_.has_live_end()) return std::nullopt;
  const std::string folder = fmt::format("/proc/{}/", process().value);
  if (path == folder + "cwd") return timeline_.source().info().working_directory;
  if (path != folder + "exe") return std::nullopt;
  const Result<std::string> known = executable_path();
  return known ? std::optional(*known) : std::nullopt;
}

std::optional<ByteView> TimelineTarget::embedded_file(std::string_view path) {
  if (path.starts_with(fmt::format("/proc/{}/", process().value))) return process_file(path);
  if (const auto known = files_.find(path); known != files_.end()) return ByteView(known->second);
  for (const trace::FileInfo& info : timeline_.source().files()) {
    if (info.path != path) continue;
    // Only what was mapped is in the recording: a file that is there only in part is no use.
    auto bytes = timeline_.source().file_bytes(info.id, 0, info.size_bytes);
    if (!bytes) return std::nullopt;
    const auto [entry, fresh] = files_.emplace(std::string(path), std::move(*bytes));
    return ByteView(entry->second);
  }
  return std::nullopt;
}

}  // namespace rchk::target
