#include "engine/timeline/timeline.h"

#include <algorithm>

#include "base/check.h"
#include "engine/timeline/clock.h"

namespace rchk::timeline {

using replay::AdvanceRequest;
using replay::AdvanceStop;
using replay::Guest;
using replay::Outcome;

namespace {

constexpr uint64_t kSegmentEnd = UINT64_MAX;

// Whether the processor may have executed the SYSCALL instruction that a guest stands at, which
// puts the return address into rcx and the flags into r11 (SDM vol. 2, SYSCALL), before the
// recorder took the call back and made the guest of it.
bool may_have_entered_call(const Guest& guest) {
  uint8_t code[2] = {};
  const Registers& now = guest.registers;
  return guest.puppet->read_memory(now.pc(), code) == sizeof(code) && code[0] == 0x0f &&
         code[1] == 0x05 && now.rcx == now.rip + sizeof(code);
}

}  // namespace

Result<std::unique_ptr<Timeline>> Timeline::open(trace::EventSource& source, std::optional<int> cpu,
                                                 trace::SyscallNamer namer) {
  std::unique_ptr<Timeline> timeline(new Timeline(source, nullptr));
  RCHK_TRY_ASSIGN(timeline->replayer_, replay::Replayer::create(source, cpu));
  timeline->replayer_->name_syscalls_with(std::move(namer));
  RCHK_TRY_ASSIGN(Guest start, timeline->replayer_->start());
  RCHK_TRY_ASSIGN(timeline->guest_, start.fork());
  timeline->checkpoints_.add({std::move(start), 0, true}, 0);
  timeline->replayer_->set_anchors(timeline.get());
  RCHK_TRY(timeline->learn_process());
  return timeline;
}

Result<std::unique_ptr<Timeline>> Timeline::open_live(trace::EventSource& source, LiveEnd& live,
                                                      std::optional<int> cpu,
                                                      trace::SyscallNamer namer) {
  std::unique_ptr<Timeline> timeline(new Timeline(source, &live));
  RCHK_TRY_ASSIGN(timeline->replayer_, replay::Replayer::create(source, cpu));
  timeline->replayer_->name_syscalls_with(std::move(namer));
  timeline->replayer_->set_anchors(timeline.get());
  timeline->at_live_end_ = true;
  RCHK_TRY(timeline->learn_process());
  return timeline;
}

Result<std::unique_ptr<Timeline>> Timeline::open_child(trace::EventSource& source, Timeline& parent,
                                                       EventNumber beginning) {
  std::unique_ptr<Timeline> timeline(new Timeline(source, nullptr));
  RCHK_TRY_ASSIGN(timeline->replayer_,
                  replay::Replayer::create_beside(*parent.replayer_, source, false));
  timeline->replayer_->set_anchors(timeline.get());
  timeline->beginning_ = beginning;
  timeline->search_options_ = parent.search_options_;
  timeline->progress_ = parent.progress_;
  RCHK_TRY(timeline->learn_process());
  // The last event before it that the parent's history has as well.
  std::optional<EventNumber> made;
  EventNumber here = beginning;
  while (!made && here.value > 0) {
    made = parent.source_.local_number(source.global_number(here));
    if (!made) --here.value;
  }
  if (!made) {
    return fail(ErrorKind::kBadTrace, fmt::format("process {} has no history in common with {}",
                                                  timeline->process_, parent.process_));
  }
  RCHK_TRY_ASSIGN(Guest guest, parent.copy_at({*made, 0, 0, 0}));
  guest.position = {here, 0, 0, 0};
  AdvanceRequest request;
  request.limit = timeline->beginning();
  RCHK_TRY(timeline->replayer_->set_probes({}));
  RCHK_TRY(timeline->replayer_->advance(guest, request));
  if (guest.position != request.limit) {
    return fail(ErrorKind::kDivergence,
                fmt::format("the beginning of process {} was not reached: the replay stands at {}",
                            timeline->process_, guest.position));
  }
  timeline->present_ns_ = parent.present_ns_;
  RCHK_TRY_ASSIGN(timeline->guest_, guest.fork());
  timeline->checkpoints_.add({std::move(guest), timeline->present_ns_, true},
                             timeline->present_ns_);
  return timeline;
}

Timeline::~Timeline() = default;

Result<Position> Timeline::position() {
  if (at_live_end_) {
    if (!live_position_) {
      RCHK_TRY_ASSIGN(live_position_, live_->position());
    }
    return *live_position_;
  }
  if (window_) return window_->position(window_step_);
  return guest_->position;
}

size_t Timeline::read_memory(GuestAddress address, std::span<uint8_t> bytes) {
  if (at_live_end_) return live_->read_memory(address, bytes);
  if (window_) return window_->read_memory(window_step_, address, bytes);
  return guest_->puppet->read_memory(address, bytes);
}

Result<snapshot::AddressSpace> Timeline::space() {
  if (at_live_end_) return live_->space();
  replay::Puppet& puppet = *(window_ ? window_->guest() : *guest_).puppet;
  RCHK_TRY(puppet.grow_stacks());
  return puppet.space();
}

Result<std::optional<Bytes>> Timeline::signal_info() {
  using Answer = std::optional<Bytes>;
  if (at_live_end_) return live_->signal_info();
  RCHK_TRY_ASSIGN(const Position present, position());
  std::optional<EventNumber> number;
  if (told_ && told_->position == present) {
    number = told_->event;
  } else if (present.instructions == 0 && present.anchor == 0) {
    number = present.event;
  }
  if (!number) return Answer();
  RCHK_TRY_ASSIGN(const auto event, source_.event(*number));
  const auto* signal = std::get_if<trace::SignalEvent>(&event->body);
  return signal == nullptr ? Answer() : Answer(signal->siginfo);
}

Result<std::shared_ptr<const trace::Event>> Timeline::program() {
  if (at_live_end_) return program_at({source_.event_count() - 1});
  RCHK_TRY_ASSIGN(const Position present, position());
  return program_at(present.event);
}

// The header is written before the program starts: event 0 knows its pid.
Result<void> Timeline::learn_process() {
  RCHK_TRY_ASSIGN(const auto event, source_.event(beginning_));
  if (const auto* exec = std::get_if<trace::ExecEvent>(&event->body)) process_ = exec->pid;
  if (const auto* spawn = std::get_if<trace::SpawnEvent>(&event->body)) process_ = spawn->pid;
  return {};
}

Result<void> Timeline::begin_at(EventNumber event) {
  beginning_ = event;
  RCHK_TRY(learn_process());
  RCHK_TRY(seek(beginning()));
  RCHK_TRY(stand());
  RCHK_TRY_ASSIGN(Guest copy, guest_->fork());
  checkpoints_.add({std::move(copy), present_ns_, true}, present_ns_);
  return {};
}

void Timeline::add_anchor(EventNumber event, replay::Anchor anchor, Guest snapshot, int64_t at_ns) {
  const uint32_t number = anchor.number;
  const std::vector<GuestAddress> pages = anchor.target.pages;
  anchors_[event].emplace(number, std::move(anchor));
  add_live_snapshot(std::move(snapshot), at_ns, pages);
}

// What the dirty tracker of the live program compares with has to stay: the last one does.
void Timeline::add_live_snapshot(Guest snapshot, int64_t at_ns,
                                 const std::vector<GuestAddress>& pages) {
  constexpr size_t kMostSnapshots = 40;
  std::optional<Changes> changes;
  if (!live_pages_.empty()) {
    changes = Changes{live_pages_.rbegin()->first, {}};
    for (const GuestAddress page : pages) {
      snapshot::append_in_order(changes->pages, range_of(page, kPageSize));
    }
  }
  live_pages_[snapshot.position] = pages.size();
  checkpoints_.add({std::move(snapshot), at_ns, true, 0, std::move(changes)}, at_ns);
  for (;;) {
    // A page that the program wrote to between two forks of it is there twice.
    uint64_t total = 0;
    for (const auto& [position, count] : live_pages_) total += count;
    if (live_pages_.size() <= kMostSnapshots && total * kPageSize <= memory_budget_bytes_) return;
    if (!thin_anchors(at_ns)) return;
  }
}

bool Timeline::thin_anchors(int64_t present_ns) {
  // As Checkpoints::drop_one, over the anchors alone; the last one stays.
  std::vector<const Checkpoint*> pinned;
  for (const auto& [position, checkpoint] : checkpoints_.all()) {
    if (checkpoint.pinned) pinned.push_back(&checkpoint);
  }
  std::optional<Position> least_needed;
  double least = 0;
  for (size_t i = 1; i + 1 < pinned.size(); ++i) {
    const double gap = static_cast<double>(pinned[i + 1]->at_ns - pinned[i - 1]->at_ns);
    const double distance = static_cast<double>(present_ns - pinned[i]->at_ns) + 1e6;
    if (!least_needed || gap / distance < least) {
      least = gap / distance;
      least_needed = pinned[i]->guest.position;
    }
  }
  if (!least_needed) return false;
  live_pages_.erase(*least_needed);
  if (least_needed->anchor == 0) {
    checkpoints_.drop_segment(least_needed->event, 0);
    return true;
  }
  auto& behind = anchors_[least_needed->event];
  const auto dropped = behind.find(least_needed->anchor);
  if (const auto next = std::next(dropped); next != behind.end()) {
    auto& pages = next->second.target.pages;
    const auto& more = dropped->second.target.pages;
    pages.insert(pages.end(), more.begin(), more.end());
    std::sort(pages.begin(), pages.end());
    pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
    // Lengths that were learned are of segments that are no more.
    next->second.segment_instructions.reset();
  }
  behind.erase(dropped);
  checkpoints_.drop_segment(least_needed->event, least_needed->anchor);
  return true;
}

replay::Anchor* Timeline::next_anchor(EventNumber event, uint32_t anchor) {
  const auto behind = anchors_.find(event);
  if (behind == anchors_.end()) return nullptr;
  const auto next = behind->second.upper_bound(anchor);
  return next == behind->second.end() ? nullptr : &next->second;
}

uint32_t Timeline::last_anchor(EventNumber event) const {
  const auto behind = anchors_.find(event);
  return behind == anchors_.end() || behind->second.empty() ? 0 : behind->second.rbegin()->first;
}

Result<Outcome> Timeline::advance(Guest& guest, AdvanceRequest request, int64_t& at_ns,
                                  const std::function<bool()>& interrupted, int64_t every_ns) {
  // About 20 ms of guest time: as often as a debugger's interrupt is looked for.
  constexpr uint64_t kSlice = 60'000'000;
  // Copying what forks share may take one part in so many of the time.
  constexpr int64_t kCopyDivisor = 8;
  const uint64_t whole = request.slice_instructions;
  uint64_t used = 0;
  for (;;) {
    Trail& trail = trail_of(guest);
    const int64_t before_ns = now_ns();
    const uint64_t retired = replayer_->instructions();
    request.slice_instructions = std::min(kSlice, whole - used);
    RCHK_TRY_ASSIGN(Outcome outcome, replayer_->advance(guest, request));
    used += std::min(whole - used, replayer_->instructions() - retired);
    const int64_t took_ns = now_ns() - before_ns;
    at_ns += took_ns;
    trail.ran(took_ns);
    if (outcome.stop != AdvanceStop::kSlice || used >= whole) return outcome;
    request.report_at_start = true;
    tell_progress(guest.position, at_ns);
    if (interrupted && interrupted()) return outcome;
    if (trail.since_ns() >= every_ns && trail.since_ns() >= kCopyDivisor * trail.copying_ns()) {
      RCHK_TRY(keep_checkpoint(guest, at_ns, present_ns_));
    }
  }
}

// `at_ns`: processor time up to there.
void Timeline::tell_progress(const Position& replayed, int64_t at_ns) const {
  if (progress_ == nullptr) return;
  progress_->tell([&] {
    const EventNumber last{source_.event_count() - 1};
    const auto seconds = [&](EventNumber number) {
      const auto event = source_.event(std::min(number, last));
      return event ? static_cast<double>((*event)->time_ns) / 1e9 : 0;
    };
    const double begin = seconds({0}), whole = seconds(last) - begin;
    if (searched_to_) {
      return fmt::format("searching back, at {:.1f} s of {:.1f} s",
                         seconds(searched_to_->event) - begin, whole);
    }
    // Somewhere between two events, which may be far apart.
    const double least = seconds(replayed.event) - begin;
    const double most = std::max(least, seconds(replayed.event.next()) - begin);
    const double at = std::clamp(static_cast<double>(at_ns) / 1e9, least, most);
    return fmt::format("replaying, at {:.1f} s of {:.1f} s", at, whole);
  });
}

Trail& Timeline::trail_of(const Guest& guest) {
  if (!trail_ || !trail_->follows(guest)) trail_.emplace(guest, checkpoints_.at(guest.position));
  return *trail_;
}

// Keeps a fork of a guest that has run there.
Result<void> Timeline::keep_checkpoint(const Guest& guest, int64_t at_ns, int64_t present_ns) {
  if (checkpoints_.contains(guest.position)) return {};
  Trail& trail = trail_of(guest);
  std::optional<Changes> changes = trail.changes(guest, checkpoints_);
  const int64_t before_ns = now_ns();
  RCHK_TRY_ASSIGN(Guest copy, guest.fork());
  fork_ns_ = now_ns() - before_ns;
  checkpoints_.add({std::move(copy), at_ns, false, 0, std::move(changes)}, present_ns);
  trail.begin(guest, checkpoints_.at(guest.position));
  return {};
}

Result<Guest> Timeline::guest_at(const Position& target, bool approach) {
  constexpr uint64_t kNearEvents = 32;
  constexpr uint64_t kNearInstructions = 2'000'000;
  RCHK_TRY_ASSIGN(const Checkpoint* base, base_for(target, false));
  RCHK_CHECK(base != nullptr, "no checkpoint before {}", target);
  // What rcx and r11 were before a call, only a replay tells then.
  while (base->guest.position.event == target.event && may_have_entered_call(base->guest)) {
    const Position here = base->guest.position;
    RCHK_TRY_ASSIGN(const Checkpoint* const before, base_for(here, true));
    if (before == nullptr) break;
    base = before;
  }
  RCHK_TRY_ASSIGN(Guest guest, base->guest.fork());
  int64_t at_ns = base->at_ns;
  RCHK_TRY(replayer_->set_probes({}));
  const auto go = [&](const Position& limit) -> Result<void> {
    AdvanceRequest request;
    request.limit = limit;
    RCHK_TRY_ASSIGN(const Outcome outcome, advance(guest, request, at_ns, {}));
    if (outcome.stop == AdvanceStop::kLimit || outcome.stop == AdvanceStop::kExit ||
        outcome.stop == AdvanceStop::kEndOfLog) {
      return {};
    }
    return fail(
        ErrorKind::kDivergence,
        fmt::format("position {} was not reached: the replay stands at {}", limit, guest.position));
  };
  while (approach) {
    Position way = guest.position;
    if (target.event.value - way.event.value > kNearEvents) {
      const uint64_t left = target.event.value - way.event.value;
      way = {{target.event.value - left / 4}, 0, 0, 0};
    } else if (way.event < target.event) {
      way = {target.event, 0, 0, 0};
    } else if (way.anchor == target.anchor && target.instructions != kSegmentEnd &&
               target.instructions - way.instructions > kNearInstructions) {
      const uint64_t left = target.instructions - way.instructions;
      way.instructions = target.instructions - left / 4;
      way.rep_iterations = 0;
    } else {
      break;
    }
    const int64_t before_ns = at_ns;
    const CopyCost copying(guest);
    RCHK_TRY(go(way));
    // What is left takes about a third as long. Not worth a fork that costs more than that.
    if (copying.so_far_ns() + fork_ns_ > (at_ns - before_ns) / 3) continue;
    RCHK_TRY(keep_checkpoint(guest, at_ns, at_ns));
  }
  RCHK_TRY(go(target));
  present_ns_ = at_ns;
  return guest;
}

Result<const Checkpoint*> Timeline::base_for(const Position& target, bool strictly) {
  const auto nearest = [&] {
    if (!strictly) return checkpoints_.at_or_before(target);
    const Checkpoint* found = checkpoints_.before(target);
    while (found != nullptr && !can_search_with_early(found->guest.early)) {
      found = checkpoints_.before(found->guest.position);
    }
    return found;
  };
  const Checkpoint* const near = nearest();
  const Station* const station =
      strictly ? stations_.before(target) : stations_.at_or_before(target);
  const bool further = station != nullptr && station->position() >= beginning() &&
                       (near == nullptr || near->guest.position < station->position());
  if (!further) return near;
  if (strictly) {
    RCHK_TRY_ASSIGN(const bool usable, can_search_from(*station));
    if (!usable) return near;
  }
  RCHK_TRY_ASSIGN(const auto taken, stations_.snapshot(*station));
  const auto at_ns = static_cast<int64_t>(taken->cpu_ns);
  // What the way costs to a guest that goes on from the nearest checkpoint, or from here.
  int64_t from_ns = near == nullptr ? INT64_MIN / 2 : near->at_ns;
  if (guest_ && guest_->position < target) from_ns = std::max(from_ns, present_ns_);
  RCHK_TRY_ASSIGN(const int64_t restore_ns, stations_.restore_ns(*station));
  if (at_ns - from_ns < restore_ns) return near;
  RCHK_TRY_ASSIGN(Guest guest, replayer_->start_at(station->number));
  checkpoints_.add({std::move(guest), at_ns, false}, at_ns);
  return nearest();
}

Result<void> Timeline::stand() {
  RCHK_CHECK(!at_live_end_, "the present is the live end");
  if (!window_) return {};
  const Position present = window_->position(window_step_);
  if (window_step_ == window_->last()) {
    guest_ = std::move(window_->guest());
  } else {
    RCHK_TRY_ASSIGN(guest_, guest_at(present, false));
  }
  window_.reset();
  return {};
}

Result<void> Timeline::seek(const Position& wanted) {
  Position target = std::max(wanted, beginning());
  if (kin_ != nullptr && kin_->end) {
    // A child's history has some of its maker's in front of its end.
    const EventNumber last{source_.events_before(*kin_->end) - 1};
    if (target.event > last) target = {last, last_anchor(last), kSegmentEnd, 0};
  }
  if (at_live_end_) RCHK_TRY(enter_history());
  if (window_) {
    if (const auto step = window_->find(target)) {
      window_step_ = *step;
      return {};
    }
  }
  const Position present = window_ ? window_->position(window_step_) : guest_->position;
  if (present == target) return {};
  RCHK_TRY_ASSIGN(const Checkpoint* const base, base_for(target, false));
  const bool go_on = !window_ && present < target && (!base || base->guest.position <= present);
  if (go_on) {
    RCHK_TRY(replayer_->set_probes({}));
    AdvanceRequest request;
    request.limit = target;
    RCHK_TRY(advance(*guest_, request, present_ns_, {}));
  } else {
    RCHK_TRY_ASSIGN(Guest guest, guest_at(target, false));
    window_.reset();
    guest_ = std::move(guest);
  }
  back_to_live(guest_->position);
  return {};
}

Result<void> Timeline::seek_to_end() {
  if (live_ != nullptr) {
    at_live_end_ = true;
    window_.reset();
    guest_.reset();
    return {};
  }
  return seek({{UINT64_MAX}, 0, 0, 0});
}

Result<Guest> Timeline::diversion() {
  if (at_live_end_) return live_->copy();
  if (window_ && window_step_ != window_->last()) {
    return guest_at(window_->position(window_step_), false);
  }
  return (window_ ? window_->guest() : *guest_).fork();
}

// A guest behind an event; one of the live program, if it stands there.
Result<Guest> Timeline::copy_at(const Position& wanted) {
  RCHK_TRY_ASSIGN(const Position present, position());
  if (present == wanted) return diversion();
  const int64_t present_ns = present_ns_;
  auto guest = guest_at(wanted, false);
  present_ns_ = present_ns;
  return guest;
}

Result<void> Timeline::enter_history() {
  RCHK_TRY_ASSIGN(const Position present, position());
  const Checkpoint* base = checkpoints_.at_or_before(present);
  RCHK_CHECK(base != nullptr, "no snapshot before the live end");
  window_.reset();
  if (base->guest.position == present && !may_have_entered_call(base->guest)) {
    RCHK_TRY_ASSIGN(guest_, base->guest.fork());
    present_ns_ = base->at_ns;
  } else {
    // The program waits in a call, where no snapshot can be taken, or a call was taken back.
    RCHK_TRY_ASSIGN(guest_, guest_at(present, true));
  }
  at_live_end_ = false;
  return {};
}

bool Timeline::back_to_live(const Position& position) {
  if (live_ == nullptr || !live_position_ || position < *live_position_) return false;
  at_live_end_ = true;
  window_.reset();
  guest_.reset();
  return true;
}

}  // namespace rchk::timeline
