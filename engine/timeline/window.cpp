#include "engine/timeline/window.h"

#include <algorithm>

namespace rchk::timeline {

using replay::AdvanceRequest;
using replay::AdvanceStop;
using replay::Outcome;

Result<Window> Window::record(replay::Replayer& replayer, replay::Guest guest,
                              const Position& end) {
  Window window(std::move(guest));
  RCHK_TRY(replayer.set_probes({}));
  RCHK_TRY(replayer.engine().attach(*window.guest_.puppet));
  RCHK_TRY(window.note_state());
  while (window.guest_.position < end) {
    RCHK_TRY_ASSIGN(const bool moved, window.step(replayer, end));
    if (!moved) break;
  }
  return window;
}

Result<void> Window::note_state() {
  RCHK_TRY_ASSIGN(ExtendedState state, guest_.puppet->extended_state());
  std::shared_ptr<const ExtendedState> shared;
  if (!steps_.empty() && *steps_.back().extended_state == state) {
    shared = steps_.back().extended_state;
  } else {
    shared = std::make_shared<const ExtendedState>(std::move(state));
  }
  const Position& here = guest_.position;
  auto others = !steps_.empty() && steps_.back().task == guest_.tid &&
                        steps_.back().position.event == here.event
                    ? steps_.back().others
                    : std::make_shared<const std::map<Tid, replay::WaitingTask>>(guest_.others);
  steps_.push_back({here, guest_.registers, std::move(shared), guest_.tid, std::move(others), {}});
  return {};
}

void Window::save(AddressRange range, std::vector<trace::MemoryWrite>& undo) {
  Bytes bytes(range.size());
  bytes.resize(guest_.puppet->read_memory(range.begin, bytes));
  if (!bytes.empty()) undo.push_back({range.begin, std::move(bytes)});
}

// Saves what applying `event` overwrites. False when it does what cannot be undone here.
bool Window::save_for(const trace::Event& event, std::vector<trace::MemoryWrite>& undo) {
  const auto save_all = [&](const std::vector<trace::MemoryWrite>& writes) {
    for (const trace::MemoryWrite& write : writes) {
      save(range_of(write.address, write.bytes.size()), undo);
    }
    return true;
  };
  if (const auto* syscall = std::get_if<trace::SyscallEvent>(&event.body)) {
    return save_all(syscall->writes) && syscall->changes.empty();
  }
  if (const auto* signal = std::get_if<trace::SignalEvent>(&event.body)) {
    return !signal->handler || save_all(signal->handler->frame);
  }
  if (const auto* spawn = std::get_if<trace::SpawnEvent>(&event.body)) {
    return save_all(spawn->writes) && spawn->kind != trace::SpawnKind::kFork;
  }
  if (const auto* memory = std::get_if<trace::MemoryEvent>(&event.body)) {
    return save_all(memory->writes) && memory->changes.empty();
  }
  if (const auto* end = std::get_if<trace::TaskEndEvent>(&event.body)) {
    return save_all(end->writes);
  }
  return !std::holds_alternative<trace::ExecEvent>(event.body);
}

// Performs one instruction, or the event that the guest stands at. False at the end of the log.
Result<bool> Window::step(replay::Replayer& replayer, const Position& end) {
  constexpr uint64_t kMostBytes = 64 << 10;
  const Position before = guest_.position;
  std::vector<trace::MemoryWrite> undo;
  bool undoable = true;
  if (const auto ranges = replayer.engine().possible_writes(guest_.registers)) {
    for (const AddressRange& range : *ranges) {
      if (range.size() > kMostBytes) {
        undoable = false;
        break;
      }
      save(range, undo);
    }
  } else {
    undoable = false;
  }

  AdvanceRequest request;
  request.limit = before;
  request.limit.instructions += 1;
  request.limit.rep_iterations = 0;
  if (request.limit > end) request.limit = end;
  const uint64_t retired = replayer.instructions();
  RCHK_TRY_ASSIGN(Outcome outcome, replayer.advance(guest_, request));
  const Position& after = guest_.position;
  if (after.event == before.event && after.anchor != before.anchor &&
      replayer.instructions() == retired &&
      same_guest_state(guest_.registers, steps_.back().registers)) {
    // An anchor at this very instruction: the same point by its other name.
    steps_.back().position = after;
    return true;
  }
  if (outcome.stop == AdvanceStop::kLimit && guest_.position == before) {
    // The segment ends here: the next step is the event behind it.
    undo.clear();
    undoable = true;
    const EventNumber next = before.event.next();
    request.limit = {next, 0, 0, 0};
    if (next.value < replayer.source().event_count()) {
      RCHK_TRY_ASSIGN(const auto event, replayer.source().event(next));
      undoable = save_for(*event, undo);
    }
    RCHK_TRY_ASSIGN(outcome, replayer.advance(guest_, request));
  }
  if (guest_.position == before) return false;
  if (undoable) {
    steps_.back().undo = std::move(undo);
  } else {
    steps_.clear();
  }
  RCHK_TRY(note_state());
  return true;
}

size_t Window::read_memory(size_t step, GuestAddress address, std::span<uint8_t> bytes) {
  const size_t count = guest_.puppet->read_memory(address, bytes);
  const AddressRange wanted = range_of(address, count);
  for (size_t i = last(); i-- > step;) {
    for (const trace::MemoryWrite& old : steps_[i].undo) {
      const AddressRange range = range_of(old.address, old.bytes.size());
      if (!range.overlaps(wanted)) continue;
      const GuestAddress begin = std::max(range.begin, wanted.begin);
      const GuestAddress end = std::min(range.end, wanted.end);
      std::copy_n(old.bytes.begin() + static_cast<ptrdiff_t>(begin - range.begin), end - begin,
                  bytes.begin() + static_cast<ptrdiff_t>(begin - wanted.begin));
    }
  }
  return count;
}

std::optional<size_t> Window::find(const Position& position) const {
  const auto found = std::lower_bound(
      steps_.begin(), steps_.end(), position,
      [](const Step& step, const Position& wanted) { return step.position < wanted; });
  if (found == steps_.end() || found->position != position) return std::nullopt;
  return static_cast<size_t>(found - steps_.begin());
}

}  // namespace rchk::timeline
