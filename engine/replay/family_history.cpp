#include "engine/replay/family_history.h"

#include <algorithm>
#include <iterator>

namespace rchk::replay {

using trace::ProcessIndex;

namespace {

bool changes_mappings(const trace::Event& event) {
  if (std::holds_alternative<trace::ExecEvent>(event.body)) return true;
  if (const auto* call = std::get_if<trace::SyscallEvent>(&event.body)) {
    return !call->changes.empty();
  }
  const auto* memory = std::get_if<trace::MemoryEvent>(&event.body);
  return memory != nullptr && !memory->changes.empty();
}

void add(ChangedBytes& all, const ChangedBytes& more) {
  for (const auto& [page, bytes] : more) {
    std::vector<PageBytes>& known = all[page];
    known.insert(known.end(), bytes.begin(), bytes.end());
    std::sort(known.begin(), known.end(),
              [](const PageBytes& a, const PageBytes& b) { return a.begin < b.begin; });
    size_t last = 0;
    for (size_t i = 1; i < known.size(); ++i) {
      if (known[i].begin <= known[last].end) {
        known[last].end = std::max(known[last].end, known[i].end);
      } else {
        known[++last] = known[i];
      }
    }
    known.resize(last + 1);
  }
}

}  // namespace

FamilySteps::FamilySteps(const Families& families, size_t family)
    : families_(families),
      number_(family),
      steps_(families.all()[family].steps),
      steps_of_(families.processes()) {
  for (size_t i = 0; i < steps_.size(); ++i) steps_of_[steps_[i].process.value].push_back(i);
}

std::vector<size_t>::const_iterator FamilySteps::with(ProcessIndex process, uint64_t event) const {
  const std::vector<size_t>& own = steps_of_[process.value];
  return std::lower_bound(own.begin(), own.end(), event, [this](size_t step, uint64_t number) {
    return steps_[step].last < number;
  });
}

std::optional<size_t> FamilySteps::behind(ProcessIndex process, uint64_t event) const {
  const std::vector<size_t>& own = steps_of_[process.value];
  const auto in = with(process, event);
  if (in == own.end()) return std::nullopt;
  const bool is_last = steps_[*in].last == event;
  // Behind its beginning a fork has what its parent's memory got since the parent stopped.
  if (!is_last) return event == 0 ? std::optional(*in) : std::nullopt;
  const auto next = in + 1;
  return next == own.end() ? std::nullopt : std::optional(*next);
}

std::optional<size_t> FamilySteps::of(ProcessIndex process, uint64_t event) const {
  const auto in = with(process, event);
  return in == steps_of_[process.value].end() ? std::nullopt : std::optional(*in);
}

size_t FamilySteps::from(EventNumber event) const {
  const auto found = std::partition_point(steps_.begin(), steps_.end(), [&](const Step& step) {
    return families_.strand(step.process).global_number({step.last}) < event;
  });
  return static_cast<size_t>(found - steps_.begin());
}

FamilyHistory::FamilyHistory(trace::EventSource& recording, const FamilySteps& steps)
    : recording_(recording),
      families_(steps.families()),
      steps_(steps),
      members_(families_.processes()) {}

Result<void> FamilyHistory::begin(std::optional<size_t> beginning, std::optional<int> cpu,
                                  trace::SyscallNamer namer) {
  FamilyReplay::Options options{cpu, false, std::move(namer), {}, {}};
  options.before_event = [this](ProcessIndex process, const trace::Event& event, Guest& guest) {
    // What it stored to memory that is not mapped behind the event.
    return changes_mappings(event) ? take_stores(process, guest) : Result<void>();
  };
  options.on_event = [this](ProcessIndex process, EventNumber number, const trace::Event& event) {
    Member& member = members_[process.value];
    member.last = number;
    member.views.note_stores(event);
    if (changes_mappings(event)) member.views.forget();
    return Result<void>();
  };
  RCHK_TRY_ASSIGN(replay_, FamilyReplay::create(recording_, families_, std::move(options)));
  if (!beginning) return {};
  begins_with_ = recording_.snapshots()->beginnings()[*beginning];
  RCHK_TRY(replay_->begin_at(*beginning, steps_.family()));
  for (size_t i = 0; i < members_.size(); ++i) {
    if (replay_->guest_of({i}) == nullptr) continue;
    Strand& strand = families_.strand({i});
    members_[i].last = strand.global_number({strand.events_before(begins_with_) - 1});
  }
  first_ = next_ = steps_.from(begins_with_);
  return {};
}

Result<void> FamilyHistory::go_to(size_t step, const Progress& progress) {
  while (!has_come_to(step)) {
    if (is_prepared_) {
      RCHK_TRY(run(steps_.at(next_)));
      ++next_;
    } else {
      RCHK_TRY(prepare(steps_.at(next_).process));
    }
    is_prepared_ = !is_prepared_;
    if (progress) progress(next_ - first_, step - first_);
  }
  return {};
}

FamilyHistory::Stores FamilyHistory::stores_behind(EventNumber event, uint32_t space) const {
  const auto known = stores_.find({space, event});
  return known == stores_.end() ? nullptr : known->second;
}

std::vector<FamilyHistory::Stores> FamilyHistory::stores_before(EventNumber event,
                                                                uint32_t space) const {
  std::vector<Stores> all;
  const auto end = stores_.lower_bound({space, event});
  for (auto one = stores_.lower_bound({space, EventNumber{0}}); one != end; ++one) {
    all.push_back(one->second);
  }
  return all;
}

Result<void> FamilyHistory::prepare(ProcessIndex process) {
  Member& member = members_[process.value];
  const bool begins = replay_->guest_of(process) == nullptr;
  if (begins) {
    RCHK_TRY(replay_->begin(process));
    RCHK_TRY_ASSIGN(const auto first, families_.strand(process).event({0}));
    if (std::holds_alternative<trace::SpawnEvent>(first->body)) {
      member.pending = members_[families_.forked_from(process).value].pending;
    }
  }
  Guest* const guest = replay_->guest_of(process);
  if (guest == nullptr) return {};  // it has ended, which the next step says
  if (!member.pending.empty()) {
    RCHK_TRY_ASSIGN(auto stores, member.views.stores(*guest->puppet, member.pending, contents_));
    member.pending.clear();
    std::shared_ptr<std::vector<trace::MemoryWrite>>& all = stores_[{guest->space, member.last}];
    if (all == nullptr) all = std::make_shared<std::vector<trace::MemoryWrite>>();
    std::move(stores.begin(), stores.end(), std::back_inserter(*all));
  }
  return {};
}

Result<void> FamilyHistory::run(const Step& step) {
  RCHK_TRY_ASSIGN(const bool ended, replay_->advance(step));
  RCHK_TRY(take_stores(step.process, *replay_->guest_of(step.process)));
  if (ended) replay_->end(step.process);
  return {};
}

Result<void> FamilyHistory::take_stores(ProcessIndex process, Guest& guest) {
  RCHK_TRY_ASSIGN(const ChangedBytes changed,
                  members_[process.value].views.take_changes(*guest.puppet, contents_));
  if (changed.empty()) return {};
  for (size_t i = 0; i < members_.size(); ++i) {
    Guest* const other = i == process.value ? nullptr : replay_->guest_of({i});
    if (other == nullptr) continue;
    Member& member = members_[i];
    ChangedBytes seen;
    for (const auto& [page, bytes] : changed) {
      RCHK_TRY_ASSIGN(const bool has, member.views.has(*other->puppet, page.memory));
      if (has) seen.emplace(page, bytes);
    }
    add(member.pending, seen);
  }
  return {};
}

}  // namespace rchk::replay
