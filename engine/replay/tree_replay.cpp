#include "engine/replay/tree_replay.h"

namespace rchk::replay {

using trace::ProcessIndex;

// The events of one process from its beginning, as numbered in the recording.
class TreeReplay::Strand final : public trace::PartOfRecording {
 public:
  explicit Strand(trace::EventSource& recording) : PartOfRecording(recording) {}

  trace::EventRuns& runs() { return runs_; }
  uint64_t event_count() const override { return runs_.size(); }
  Result<std::shared_ptr<const trace::Event>> event(EventNumber number) override {
    if (number.value < runs_.size()) return recording_.event(runs_.at(number.value));
    return fail(ErrorKind::kMisuse,
                fmt::format("event {} was asked for; the process has {}", number, runs_.size()));
  }
  EventNumber global_number(EventNumber number) const override {
    return number.value < runs_.size() ? runs_.at(number.value)
                                       : EventNumber{recording_.event_count()};
  }
  std::optional<EventNumber> local_number(EventNumber global) const override {
    const std::optional<uint64_t> index = runs_.find(global);
    return index ? std::optional(EventNumber{*index}) : std::nullopt;
  }

  uint64_t events_before(EventNumber global) const override { return runs_.before(global); }

 private:
  trace::EventRuns runs_;
};

struct TreeReplay::Member {
  explicit Member(trace::EventSource& recording) : strand(recording) {}
  Strand strand;
  std::unique_ptr<Replayer> replayer;
  std::optional<Guest> guest;  // while it lives
  bool ended = false;
};

TreeReplay::TreeReplay(trace::EventSource& recording) : recording_(recording) {}
TreeReplay::~TreeReplay() = default;

Result<std::unique_ptr<TreeReplay>> TreeReplay::create(trace::EventSource& recording,
                                                       std::optional<int> cpu,
                                                       trace::SyscallNamer namer) {
  std::unique_ptr<TreeReplay> tree(new TreeReplay(recording));
  RCHK_TRY(tree->sort_events());
  tree->nothing_ = std::make_unique<Strand>(recording);
  RCHK_TRY_ASSIGN(tree->root_, Replayer::create(*tree->nothing_, cpu));
  tree->root_->name_syscalls_with(std::move(namer));
  tree->root_->share_memory();
  return tree;
}

Result<void> TreeReplay::sort_events() {
  const uint64_t count = recording_.event_count();
  for (EventNumber number{0}; number.value < count; number = number.next()) {
    RCHK_TRY_ASSIGN(const auto event, recording_.event(number));
    RCHK_TRY_ASSIGN(const trace::ProcessTable::Owners owners, table_.add(*event));
    while (members_.size() < table_.processes().size()) {
      members_.push_back(std::make_unique<Member>(recording_));
    }
    if (owners.left) add(*owners.left, number);
    add(owners.memory, number);
  }
  return {};
}

void TreeReplay::add(ProcessIndex process, EventNumber event) {
  trace::EventRuns& runs = members_[process.value]->strand.runs();
  runs.add(event);
  if (steps_.empty() || steps_.back().process != process) steps_.push_back({process, 0});
  steps_.back().last = runs.size() - 1;
}

Result<void> TreeReplay::run() {
  for (const Step& step : steps_) {
    const Member& member = *members_[step.process.value];
    if (member.replayer == nullptr && !member.ended) RCHK_TRY(begin(step.process));
    RCHK_TRY(advance(step));
  }
  return {};
}

// Makes the guest of a process that begins now.
Result<void> TreeReplay::begin(ProcessIndex index) {
  Member& member = *members_[index.value];
  RCHK_TRY_ASSIGN(const auto first, member.strand.event({0}));
  const bool forked = std::holds_alternative<trace::SpawnEvent>(first->body);
  const Member* parent = nullptr;
  if (forked) {
    parent = members_[table_.process(index).memory_from->value].get();
    if (!parent->guest) {
      return fail(ErrorKind::kBadTrace, fmt::format("event {}: the process that forks has ended",
                                                    member.strand.global_number({0})));
    }
  }
  const Replayer& relative = forked ? *parent->replayer : *root_;
  RCHK_TRY_ASSIGN(member.replayer, Replayer::create_beside(relative, member.strand, forked));
  if (restores_) member.replayer->restore_snapshots();
  if (on_event_) {
    member.replayer->on_event(
        [this, &member](EventNumber number, const trace::Event& event, const Guest& guest) {
          return on_event_(member.strand.global_number(number), event, guest);
        });
  }
  RCHK_TRY_ASSIGN(member.guest, forked ? member.replayer->start_as_child(*parent->guest)
                                       : member.replayer->start());
  return {};
}

Result<void> TreeReplay::advance(const Step& step) {
  Member& member = *members_[step.process.value];
  if (member.ended) {
    return fail(ErrorKind::kBadTrace, fmt::format("event {} is of a process that has ended",
                                                  member.strand.global_number({step.last})));
  }
  AdvanceRequest request;
  request.limit = {{step.last}, 0, 0, 0};
  RCHK_TRY_ASSIGN(const Outcome outcome, member.replayer->advance(*member.guest, request));
  if (outcome.stop != AdvanceStop::kExit) return {};
  if (table_.process(step.process).origin == trace::ProcessOrigin::kFirst) {
    RCHK_TRY_ASSIGN(const auto event, member.strand.event(outcome.event));
    exit_ = std::get<trace::ExitEvent>(event->body);
  }
  end(member);
  return {};
}

void TreeReplay::end(Member& member) {
  instructions_ += member.replayer->instructions();
  checksums_ += member.replayer->checksums_verified();
  snapshots_ += member.replayer->snapshots_verified();
  pages_ += member.replayer->pages_verified();
  restored_ += member.replayer->snapshots_restored();
  member.guest.reset();
  member.replayer.reset();
  member.ended = true;
}

uint64_t TreeReplay::total(uint64_t ended, uint64_t (Replayer::*count)() const) const {
  for (const auto& member : members_) {
    if (member->replayer != nullptr) ended += (*member->replayer.*count)();
  }
  return ended;
}

uint64_t TreeReplay::instructions() const { return total(instructions_, &Replayer::instructions); }
uint64_t TreeReplay::checksums_verified() const {
  return total(checksums_, &Replayer::checksums_verified);
}
uint64_t TreeReplay::snapshots_verified() const {
  return total(snapshots_, &Replayer::snapshots_verified);
}
uint64_t TreeReplay::pages_verified() const { return total(pages_, &Replayer::pages_verified); }
uint64_t TreeReplay::snapshots_restored() const {
  return total(restored_, &Replayer::snapshots_restored);
}

}  // namespace rchk::replay
