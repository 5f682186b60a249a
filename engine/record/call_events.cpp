// The event of a system call: what it left in memory, in the address space, and in the output.
#include <cstring>

#include <sys/prctl.h>

#include "engine/record/address_changes.h"
#include "engine/record/recorder_impl.h"
#include "engine/syscalls/address_space.h"
#include "engine/syscalls/describe.h"
#include "engine/syscalls/descriptors.h"

namespace rchk::record {
namespace {

using syscalls::Call;
namespace nr = syscalls::nr;

}  // namespace

Result<std::vector<trace::PageContents>> Recorder::Impl::writable_pages() const {
  std::vector<trace::Mapping> found;
  for (const auto& [begin, mapping] : task_->space->memory.mappings()) {
    if (mapping.writable()) found.push_back(mapping);
  }
  return own_pages(task_->tracee, found);
}

// True for a call of which nothing says what it writes.
bool Recorder::Impl::is_doubtful(const PendingCall& call) const {
  // No kernel has calls of higher numbers, but for those of the x32 ABI.
  constexpr int32_t kEndOfNumbers = 1024;
  const int32_t number = call.entry.call.number;
  if (syscalls::find(number) == nullptr) return number >= 0 && number < kEndOfNumbers;
  switch (number) {
    case nr::ioctl:
    case nr::fcntl:
    case nr::prctl:
    case nr::arch_prctl:
    case nr::keyctl:
    case nr::semctl:
    case nr::shmctl:
    case nr::msgctl:
      break;
    default:
      return false;
  }
  // As if it had succeeded already.
  return !syscalls::outputs(call.entry, 0, GuestReader(task_->tracee)).complete;
}

Result<void> Recorder::Impl::add_changed_pages(const PendingCall& call,
                                               trace::SyscallEvent& event) {
  for (const auto& [tid, other] : tasks_) {
    if (other.get() == task_ || other->space != task_->space || other->behind_event) continue;
    say_once(
        fmt::format("What {} changed is not told from what thread {} was computing: a replay "
                    "may differ from here.",
                    syscalls::name(call.entry.call.number), tid));
  }
  std::map<GuestAddress, const uint8_t*> before;
  for (const trace::PageContents& run : *call.pages_before) {
    for (size_t at = 0; at < run.bytes.size(); at += kPageSize) {
      before[run.address + at] = run.bytes.data() + at;
    }
  }
  RCHK_TRY_ASSIGN(const auto after, writable_pages());
  for (const trace::PageContents& run : after) {
    for (size_t at = 0; at < run.bytes.size(); at += kPageSize) {
      const uint8_t* const page = run.bytes.data() + at;
      const auto known = before.find(run.address + at);
      if (known != before.end() && std::memcmp(known->second, page, kPageSize) == 0) continue;
      trace::MemoryWrite write{run.address + at, Bytes(page, page + kPageSize)};
      Breakpoints& breakpoints = task_->space->breakpoints;
      if (breakpoints.inserted()) {
        breakpoints.hide_in(write.address, write.bytes, true, task_->tracee);
      }
      event.writes.push_back(std::move(write));
    }
  }
  return {};
}

Result<void> Recorder::Impl::add_writes(const PendingCall& call, const Registers& after,
                                        trace::SyscallEvent& event) {
  const Call& made = call.entry.call;
  const auto result = static_cast<int64_t>(after.rax);
  const bool asks_for_cpus = !call.answer && made.number == nr::sched_getaffinity && result > 0;
  if (const Task* asked = asks_for_cpus ? task_named(made.arguments[0]) : nullptr) {
    // What the guest was started with or has set, not the one core that it was pinned to.
    CpuMask mask = asked->affinity.empty() ? mask_of(allowed_cpus_) : asked->affinity;
    mask.resize(static_cast<size_t>(result));
    RCHK_TRY(task_->tracee.write_memory({made.arguments[2]}, mask));
  }
  if (!call.answer && made.number == nr::getcpu && result == 0) {
    RCHK_TRY(keep_in_affinity(made));
  }
  if (!call.answer) RCHK_TRY(note_scheduling(made, result));
  if (!call.answer && made.number == nr::prctl && made.arguments[0] == PR_GET_TSC && result == 0) {
    const int32_t enabled = PR_TSC_ENABLE;
    RCHK_TRY(task_->tracee.write_memory(
        {made.arguments[1]}, {reinterpret_cast<const uint8_t*>(&enabled), sizeof(enabled)}));
  }
  if (call.answer) return {};
  const syscalls::Outputs outputs =
      syscalls::outputs(call.entry, result, GuestReader(task_->tracee));
  if (call.pages_before) {
    // A kernel that has no such call changes nothing.
    if (result != -ENOSYS && !outputs.complete) {
      const bool in_table = syscalls::find(made.number) != nullptr;
      say_once(fmt::format("The {} is not known: what it changed is found by comparing memory.",
                           in_table ? outputs.doubt : fmt::format("call {}", made.number)));
    }
    RCHK_TRY(add_changed_pages(call, event));
  } else if (!outputs.complete) {
    say_once(fmt::format("{} may have changed memory in a way that is not recorded ({}).",
                         syscalls::name(made.number), outputs.doubt));
  }
  std::vector<AddressRange> ranges = outputs.ranges;
  for (const ForeignStore& store : foreign_stores(call, result)) {
    if (store.space == task_->space.get()) ranges.push_back(store.range);
  }
  for (const AddressRange& range : ranges) {
    trace::MemoryWrite write{range.begin, {}};
    if (const auto* stored = call.scratch ? call.scratch->stored_at(range) : nullptr) {
      write.bytes = stored->bytes;
    } else {
      write.bytes.resize(range.size());
      write.bytes.resize(task_->tracee.read_memory(range.begin, write.bytes));
    }
    if (write.bytes.empty()) continue;
    if (task_->space->breakpoints.inserted())
      task_->space->breakpoints.hide_in(write.address, write.bytes, true, task_->tracee);
    event.writes.push_back(std::move(write));
  }
  return {};
}

void Recorder::Impl::add_output(const PendingCall& call, int64_t result,
                                trace::SyscallEvent& event) {
  if (call.answer) return;
  const GuestReader memory(task_->tracee);
  const Call& made = call.entry.call;
  const auto data = syscalls::data_written(made, result, memory);
  if (data) event.output = task_->streams->stream_of(data->descriptor);
  if (event.output == trace::OutputStream::kNone) {
    for (const auto& change : syscalls::descriptor_changes(call.entry, result, memory)) {
      task_->streams->apply(change, task_->tracee.pid());
    }
    return;
  }
  for (const AddressRange& range : data->ranges) {
    const size_t had = event.output_bytes.size();
    event.output_bytes.resize(had + range.size());
    const std::span<uint8_t> part(event.output_bytes.data() + had, range.size());
    event.output_bytes.resize(had + task_->tracee.read_memory(range.begin, part));
  }
  if (data->source < 0) return;
  std::optional<uint64_t> offset;
  const uint64_t pointer = made.number == nr::sendfile ? made.arguments[2] : made.arguments[1];
  uint64_t value = 0;
  if (pointer != 0 && memory.read({pointer}, {reinterpret_cast<uint8_t*>(&value), 8}) == 8) {
    offset = value;
  }
  if (!is_out_of_reach(data->source)) {
    event.output_bytes = bytes_moved_from(task_->tracee.pid(), data->source, data->bytes, offset);
  }
  if (event.output_bytes.size() != data->bytes) {
    say_once(fmt::format("What {} writes to the standard output is not recorded.",
                         syscalls::name(made.number)));
  }
}

// The event of a call that has returned, with all that it left in memory.
Result<trace::SyscallEvent> Recorder::Impl::event_of(PendingCall& call, const Registers& after,
                                                     int64_t result) {
  const Call& made = call.entry.call;
  trace::SyscallEvent event;
  event.number = made.number;
  // The instruction itself has overwritten these when the entry stop comes (SDM vol. 2B, SYSCALL).
  const bool sigreturn = made.number == nr::rt_sigreturn && !call.answer;
  if (!sigreturn) {
    call.before.rcx = after.rcx;
    call.before.r11 = after.r11;
  }
  event.before = call.before;
  event.after = after;
  event.after.orig_rax = kNoCall;
  Space& space = *task_->space;
  if (sigreturn) {
    RCHK_TRY_ASSIGN(event.extended_state, task_->tracee.extended_state());
  }
  if (!call.answer && syscalls::class_of(made) == syscalls::Class::kAddressSpace) {
    auto effects = syscalls::address_space_effects(made, result, space.brk);
    effects.reread_protection = task_->read_implies_exec;
    for (const syscalls::AddressSpaceEffect& effect : effects.effects) {
      const auto* advice = std::get_if<syscalls::ForkAdviceEffect>(&effect);
      if (advice != nullptr) space.fork_advised = true;
    }
    if (made.number == nr::brk) space.brk = {static_cast<uint64_t>(result)};
    RCHK_TRY_ASSIGN(
        AddressChanges changes,
        recorded_changes(effects, task_->tracee, files_, space.memory, space.scratch.all(),
                         [this](std::string_view text) { say(text); }));
    event.changes = std::move(changes.changes);
    event.writes = std::move(changes.writes);
  }
  note_opened(call, result);
  if (!call.answer && !changes_out_of_reach(made, result)) {
    AddressChanges changes;
    RCHK_TRY(
        add_file_changes(made, result, task_->tid, task_->tracee, files_, space.memory, changes));
    RCHK_TRY(add_holes(holes_made(made, result, space.memory), task_->tracee, files_, space.memory,
                       changes));
    std::move(changes.changes.begin(), changes.changes.end(), std::back_inserter(event.changes));
    std::move(changes.writes.begin(), changes.writes.end(), std::back_inserter(event.writes));
  }
  say_what_stores_show(event.changes);
  RCHK_TRY(look_at_code_of(event.changes, event.writes));
  RCHK_TRY(end_agent_if_touched(event));
  if (space.reference) note_changes(event.changes, *space.reference->tracker);
  RCHK_TRY(add_writes(call, after, event));
  if (result == 0 && syscalls::unshares_descriptors(made)) {
    task_->streams = std::make_shared<OutputStreams>(*task_->streams);
  }
  add_output(call, result, event);
  return event;
}

}  // namespace rchk::record
