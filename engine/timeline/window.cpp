#include "engine/timeline/window.h"

#include <algorithm>

#include "base/check.h"

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
  for (;;) {
    RCHK_TRY(window.run(replayer, end));
    if (!(window.guest_.position < end)) break;
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
  steps_.push_back({here, guest_.registers, std::move(shared), guest_.tid, std::move(others)});
  return {};
}

// What the step behind the last state overwrites.
void Window::keep(AddressRange range, std::span<const uint8_t> bytes) {
  overwritten_.push_back({last(), range, old_bytes_.size()});
  old_bytes_.insert(old_bytes_.end(), bytes.begin(), bytes.end());
}

void Window::save(AddressRange range) {
  Bytes bytes(range.size());
  bytes.resize(guest_.puppet->read_memory(range.begin, bytes));
  if (!bytes.empty()) keep(range_of(range.begin, bytes.size()), bytes);
}

void Window::forget_from(size_t overwritten) {
  if (overwritten >= overwritten_.size()) return;
  old_bytes_.resize(overwritten_[overwritten].bytes_at);
  overwritten_.resize(overwritten);
}

void Window::forget_all() {
  steps_.clear();
  overwritten_.clear();
  old_bytes_.clear();
}

// Saves what applying `event` overwrites. False when it does what cannot be undone here.
bool Window::save_for(const trace::Event& event) {
  const auto save_all = [&](const std::vector<trace::MemoryWrite>& writes) {
    for (const trace::MemoryWrite& write : writes) {
      save(range_of(write.address, write.bytes.size()));
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

// Passes instructions that need no stop.
Result<void> Window::run(replay::Replayer& replayer, const Position& end) {
  const Position before = guest_.position;
  const bool end_is_here = end.event == before.event && end.anchor == before.anchor;
  const uint64_t limit = end_is_here ? end.instructions - before.instructions : UINT64_MAX;
  if (limit == 0) return {};
  std::vector<translate::LoggedInstruction> passed;
  RCHK_TRY(replayer.run_logged(guest_, limit, passed));
  for (size_t i = 0; i < passed.size(); ++i) {
    const translate::LoggedInstruction& instruction = passed[i];
    RCHK_CHECK(i != 0 || same_guest_state(instruction.registers, steps_.back().registers),
               "an instruction is logged with other registers than the guest has");
    for (uint8_t word = 0; word < instruction.word_count; ++word) {
      const auto* const bytes = reinterpret_cast<const uint8_t*>(&instruction.old_words[word]);
      constexpr size_t kWordBytes = sizeof(instruction.old_words[word]);
      keep(range_of(instruction.words[word], kWordBytes), {bytes, kWordBytes});
    }
    Step next = steps_.back();
    next.position.instructions += 1;
    next.position.rep_iterations = 0;
    next.registers = i + 1 < passed.size() ? passed[i + 1].registers : guest_.registers;
    steps_.push_back(std::move(next));
  }
  return {};
}

// Performs one instruction, or the event that the guest stands at. False at the end of the log.
Result<bool> Window::step(replay::Replayer& replayer, const Position& end) {
  constexpr uint64_t kMostBytes = 64 << 10;
  const Position before = guest_.position;
  const size_t known = overwritten_.size();
  bool undoable = true;
  if (const auto ranges = replayer.engine().possible_writes(guest_.registers)) {
    for (const AddressRange& range : *ranges) {
      if (range.size() > kMostBytes) {
        undoable = false;
        break;
      }
      save(range);
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
    forget_from(known);
    steps_.back().position = after;
    return true;
  }
  if (outcome.stop == AdvanceStop::kLimit && guest_.position == before) {
    // The segment ends here: the next step is the event behind it.
    forget_from(known);
    undoable = true;
    const EventNumber next = before.event.next();
    request.limit = {next, 0, 0, 0};
    if (next.value < replayer.source().event_count()) {
      RCHK_TRY_ASSIGN(const auto event, replayer.source().event(next));
      undoable = save_for(*event);
    }
    RCHK_TRY_ASSIGN(outcome, replayer.advance(guest_, request));
  }
  if (guest_.position == before) {
    forget_from(known);
    return false;
  }
  if (!undoable) forget_all();
  RCHK_TRY(note_state());
  return true;
}

size_t Window::read_memory(size_t step, GuestAddress address, std::span<uint8_t> bytes) {
  const size_t count = guest_.puppet->read_memory(address, bytes);
  const AddressRange wanted = range_of(address, count);
  for (size_t i = overwritten_.size(); i-- > 0 && overwritten_[i].step >= step;) {
    const AddressRange& range = overwritten_[i].range;
    if (!range.overlaps(wanted)) continue;
    const GuestAddress begin = std::max(range.begin, wanted.begin);
    const GuestAddress end = std::min(range.end, wanted.end);
    std::copy_n(old_bytes_.begin() +
                    static_cast<ptrdiff_t>(overwritten_[i].bytes_at + (begin - range.begin)),
                end - begin, bytes.begin() + static_cast<ptrdiff_t>(begin - wanted.begin));
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
