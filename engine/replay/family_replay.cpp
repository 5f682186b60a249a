#include "engine/replay/family_replay.h"

#include <utility>

namespace rchk::replay {

using trace::ProcessIndex;

FamilyReplay::FamilyReplay(trace::EventSource& recording, const Families& families, Options options)
    : families_(&families),
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
  const Replayer& relative = forked ? *parent->replayer : *root_;
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
  RCHK_TRY_ASSIGN(member.guest, forked ? member.replayer->start_as_child(*parent->guest)
                                       : member.replayer->start());
  return {};
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
