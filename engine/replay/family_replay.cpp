#include "engine/replay/family_replay.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <tuple>
#include <utility>

namespace rchk::replay {

using snapshot::PageChange;
using trace::ProcessIndex;

namespace {

constexpr uint64_t kMostEventsLookedAt = 4096;

// By address; where it is the same, by what is there.
bool comes_before(const PageChange& a, const PageChange& b) {
  const auto key = [](const PageChange& page) {
    const snapshot::PageVersion& version = page.version;
    return std::tuple(page.page, version.kind, version.chunk, version.slot, version.xxh3);
  };
  return key(a) < key(b);
}

}  // namespace

FamilyReplay::FamilyReplay(trace::EventSource& recording, const Families& families, Options options)
    : recording_(&recording),
      families_(&families),
      options_(std::move(options)),
      nothing_(std::make_unique<Strand>(recording)),
      members_(families.processes()) {}

Result<FamilyReplay> FamilyReplay::create(trace::EventSource& recording, const Families& families,
                                          Options options) {
  FamilyReplay replay(recording, families, std::move(options));
  RCHK_TRY_ASSIGN(replay.root_, Replayer::create(*replay.nothing_, replay.options_.cpu));
  replay.root_->name_syscalls_with(replay.options_.namer);
  // One alone is replayed as a debugger does.
  if (families.processes() > 1) replay.root_->share_memory();
  return replay;
}

Result<void> FamilyReplay::begin(ProcessIndex process) {
  Member& member = members_[process.value];
  if (member.replayer != nullptr || member.ended) return {};
  Strand& strand = families_->strand(process);
  RCHK_TRY_ASSIGN(const auto first, strand.event({0}));
  const bool forked = std::holds_alternative<trace::SpawnEvent>(first->body);
  const Member* parent = nullptr;
  if (forked) {
    parent = &members_[families_->forked_from(process).value];
    if (!parent->guest) {
      return fail(ErrorKind::kBadTrace, fmt::format("event {}: the process that forks has ended",
                                                    strand.global_number({0})));
    }
  }
  RCHK_TRY(make_replayer(process, forked ? *parent->replayer : *root_, forked));
  RCHK_TRY_ASSIGN(member.guest, forked ? member.replayer->start_as_child(*parent->guest)
                                       : member.replayer->start());
  return {};
}

Result<void> FamilyReplay::make_replayer(ProcessIndex process, const Replayer& relative,
                                         bool forked) {
  Member& member = members_[process.value];
  Strand& strand = families_->strand(process);
  RCHK_TRY_ASSIGN(member.replayer, Replayer::create_beside(relative, strand, forked));
  if (options_.restores) member.replayer->restore_snapshots();
  if (options_.before_event) {
    member.replayer->before_event([this, process](const trace::Event& event, Guest& guest) {
      return options_.before_event(process, event, guest);
    });
  }
  if (options_.on_event) {
    member.replayer->on_event(
        [this, process, &strand](EventNumber number, const trace::Event& event, const Guest&) {
          return options_.on_event(process, strand.global_number(number), event);
        });
  }
  return {};
}

Result<void> FamilyReplay::for_each_at(size_t beginning, size_t family, const OnProcess& call) {
  RCHK_TRY_ASSIGN(const auto processes, recording_->snapshots()->beginning(beginning));
  for (const trace::Event& event : *processes) {
    const auto process = families_->owner_of(event.space);
    if (process && families_->family_of(*process) == family) RCHK_TRY(call(*process, event));
  }
  return {};
}

Result<void> FamilyReplay::begin_at(size_t beginning, size_t family) {
  const EventNumber next = recording_->snapshots()->beginnings()[beginning];
  return for_each_at(
      beginning, family, [&](ProcessIndex process, const trace::Event& event) -> Result<void> {
        const uint64_t before = families_->strand(process).events_before(next);
        if (before == 0) {
          return fail(ErrorKind::kBadTrace,
                      fmt::format("a beginning at event {} with a process that has "
                                  "not begun",
                                  next));
        }
        Member& member = members_[process.value];
        RCHK_TRY(make_replayer(process, *root_, false));
        RCHK_TRY_ASSIGN(member.guest, member.replayer->start_behind({before - 1}, event));
        return {};
      });
}

Result<void> FamilyReplay::check_beginning(size_t beginning, size_t family) {
  const EventNumber next = recording_->snapshots()->beginnings()[beginning];
  return for_each_at(
      beginning, family, [&](ProcessIndex process, const trace::Event& event) -> Result<void> {
        Member& member = members_[process.value];
        if (!member.guest || member.guest->space != event.space) {
          return fail(ErrorKind::kBadTrace, fmt::format("a beginning at event {} with a process "
                                                        "that does not run there",
                                                        next));
        }
        const auto& pages = std::get<trace::ExecEvent>(event.body).resumed->pages;
        std::vector<PageChange>& known = checked_pages_[event.space];
        std::vector<PageChange> changed;
        std::set_difference(pages.begin(), pages.end(), known.begin(), known.end(),
                            std::back_inserter(changed), comes_before);
        RCHK_TRY_ASSIGN(const auto stored, stored_by_waiting(process, event, next));
        RCHK_TRY(member.replayer->check_beginning(*member.guest, event, changed, stored));
        if (stored) known = pages;
        return {};
      });
}

// Where calls store that wait at a beginning: some of it may be there early. Nothing if they wait
// for so long that it is not known.
Result<std::optional<std::vector<AddressRange>>> FamilyReplay::stored_by_waiting(
    ProcessIndex process, const trace::Event& begun, EventNumber next) {
  std::set<Tid> waiting;
  const trace::Resumed& resumed = *std::get<trace::ExecEvent>(begun.body).resumed;
  if (resumed.in_call) waiting.insert(begun.tid);
  for (const trace::WaitingTask& task : resumed.others) {
    if (task.in_call) waiting.insert(task.tid);
  }
  Strand& strand = families_->strand(process);
  std::vector<AddressRange> stored;
  EventNumber number{strand.events_before(next)};
  const uint64_t end = std::min(strand.event_count(), number.value + kMostEventsLookedAt);
  for (; number.value < end && !waiting.empty(); number = number.next()) {
    RCHK_TRY_ASSIGN(const auto event, strand.event(number));
    if (waiting.erase(event->tid) == 0) continue;
    const auto* const call = std::get_if<trace::SyscallEvent>(&event->body);
    if (call == nullptr) continue;
    for (const trace::MemoryWrite& write : call->writes) {
      stored.push_back(range_of(write.address, write.bytes.size()));
    }
  }
  const bool known = waiting.empty() || number.value == strand.event_count();
  return known ? std::optional(std::move(stored)) : std::nullopt;
}

Result<bool> FamilyReplay::advance(const Step& step) {
  Member& member = members_[step.process.value];
  if (member.ended) {
    const Strand& strand = families_->strand(step.process);
    return fail(ErrorKind::kBadTrace, fmt::format("event {} is of a process that has ended",
                                                  strand.global_number({step.last})));
  }
  AdvanceRequest request;
  request.limit = {{step.last}, 0, 0, 0};
  RCHK_TRY_ASSIGN(const Outcome outcome, member.replayer->advance(*member.guest, request));
  if (outcome.stop != AdvanceStop::kExit) return false;
  const auto end = families_->program_end(step.process, outcome.event);
  if (end) totals_.exit = end;
  return true;
}

void FamilyReplay::end(ProcessIndex process) {
  Member& member = members_[process.value];
  if (std::exchange(member.ended, true) || member.replayer == nullptr) return;
  totals_ += ReplayTotals::of(*member.replayer);
  member.guest.reset();
  member.replayer.reset();
}

Guest* FamilyReplay::guest_of(ProcessIndex process) {
  Member& member = members_[process.value];
  return member.guest ? &*member.guest : nullptr;
}

}  // namespace rchk::replay
