// When an agent is at an end (agent.h): the guest changes memory where it is, or is able to.

#include <algorithm>
#include <utility>

#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

bool touches(const trace::AddressSpaceChange& change, AddressRange range) {
  if (const auto* map = std::get_if<trace::MapChange>(&change)) {
    return map->mapping.range.overlaps(range);
  }
  if (const auto* unmap = std::get_if<trace::UnmapChange>(&change)) {
    return unmap->range.overlaps(range);
  }
  if (const auto* protect = std::get_if<trace::ProtectChange>(&change)) {
    return protect->range.overlaps(range);
  }
  if (const auto* moved = std::get_if<trace::RemapChange>(&change)) {
    return moved->from.overlaps(range) || moved->to.overlaps(range);
  }
  const auto* discard = std::get_if<trace::DiscardChange>(&change);
  return discard != nullptr && discard->range.overlaps(range);
}

// Memory where an agent is.
std::vector<AddressRange> parts_of(const Agent& agent, AddressRange vdso) {
  std::vector<AddressRange> parts = agent.memory();
  parts.push_back(vdso);
  if (agent.data.value != 0) parts.push_back(range_of(agent.file_code, kPageSize));
  for (const auto& [number, function] : agent.functions) {
    parts.push_back(range_of(function.head, FileFunction::kMostBytes));
  }
  return parts;
}

// Where `changes` have moved it to.
GuestAddress moved_by(const std::vector<trace::AddressSpaceChange>& changes, GuestAddress address) {
  for (const trace::AddressSpaceChange& change : changes) {
    const auto* const moved = std::get_if<trace::RemapChange>(&change);
    if (moved == nullptr || !moved->from.contains(address)) continue;
    address = moved->to.begin + (address - moved->from.begin);
  }
  return address;
}

}  // namespace

// The guest changes what is mapped where the agent is: it does without. `event`: of that call.
Result<void> Recorder::Impl::end_agent_if_touched(trace::SyscallEvent& event) {
  const Space& space = *task_->space;
  if (!space.agent || event.changes.empty()) return {};
  const std::vector<AddressRange> parts = parts_of(*space.agent, space.confinement.vdso);
  const bool ends =
      std::any_of(event.changes.begin(), event.changes.end(), [&](const auto& change) {
        return std::any_of(parts.begin(), parts.end(),
                           [&](AddressRange part) { return touches(change, part); });
      });
  return ends ? end_agent(*task_, event.changes, event.writes) : Result<void>();
}

// A file by which somebody may overwrite a part of the agent's code and jumps has been opened: what
// is found there from now on is the program's.
Result<void> Recorder::Impl::end_barred_agents() {
  if (!memory_files_opened_) return {};
  for (const auto& [tid, task] : tasks_) {
    Space& space = *task->space;
    if (!space.agent || !space.agent_use.barred) continue;
    trace::MemoryEvent event;
    RCHK_TRY(end_agent(*task, {}, event.writes));
    RCHK_TRY(add_memory_event(space, std::move(event)));
  }
  return {};
}

// Behind `changes`. Adds to `writes` what it writes to the memory of `task`.
Result<void> Recorder::Impl::end_agent(Task& task,
                                       const std::vector<trace::AddressSpaceChange>& changes,
                                       std::vector<trace::MemoryWrite>& writes) {
  Space& space = *task.space;
  const Agent ended = *std::exchange(space.agent, std::nullopt);
  // Writes what was there before the recorder wrote `written`, if that still is.
  const auto put_back = [&](trace::MemoryWrite before, const Bytes& written) -> Result<void> {
    before.address = moved_by(changes, before.address);
    if (space.memory.find(before.address) == nullptr) return {};
    Bytes there(written.size());
    if (task.tracee.read_memory(before.address, there) != there.size() || there != written) {
      return {};  // something else lies there by now, or nothing
    }
    RCHK_TRY(task.tracee.write_memory(before.address, before.bytes));
    space.snapshots.changes.note_written({before});
    writes.push_back(std::move(before));
    return {};
  };
  std::vector<trace::MemoryWrite> heads =
      plain_heads(space.confinement.vdso.begin, space.confinement.calls);
  for (const auto& [number, function] : ended.functions) {
    for (trace::MemoryWrite& head : plain_heads(function)) heads.push_back(std::move(head));
  }
  for (trace::MemoryWrite& head : heads) {
    const auto jump = ended.jumps.find(head.address);
    if (jump == ended.jumps.end()) continue;
    head.bytes.resize(jump->second.size());
    RCHK_TRY(put_back(head, jump->second));
  }
  // Code that has been copied somewhere leads here: its calls are to stop, for nobody reads the
  // ring.
  for (const auto& [number, code] : ended.code) {
    const auto* const shown = reinterpret_cast<const uint8_t*>(&code.shown);
    RCHK_TRY(put_back({code.cookie, Bytes(sizeof(code.shown))},
                      Bytes(shown, shown + sizeof(code.shown))));
  }
  return {};
}

}  // namespace rchk::record
