#include "engine/replay/shared_stores.h"

#include <algorithm>

#include <unistd.h>

#include "engine/replay/error_cause.h"

namespace rchk::replay {

using trace::ProcessIndex;

namespace {

// Of a family: each has guests of all processes.
constexpr size_t kMostHistories = 3;

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

// The steps of one family, by number.
class SharedStores::FamilySteps {
 public:
  FamilySteps(const Families& families, size_t family)
      : families_(families),
        number_(family),
        steps_(families.all()[family].steps),
        steps_of_(families.processes()) {
    for (size_t i = 0; i < steps_.size(); ++i) steps_of_[steps_[i].process.value].push_back(i);
  }
  const Families& families() const { return families_; }
  size_t family() const { return number_; }
  const Step& at(size_t step) const { return steps_[step]; }

  // The step at whose beginning it is known what others have stored behind an event.
  std::optional<size_t> behind(ProcessIndex process, uint64_t event) const {
    const std::vector<size_t>& own = steps_of_[process.value];
    const auto in = with(process, event);
    if (in == own.end()) return std::nullopt;
    const bool is_last = steps_[*in].last == event;
    // Behind its beginning a fork has what its parent's memory got since the parent stopped.
    if (!is_last) return event == 0 ? std::optional(*in) : std::nullopt;
    const auto next = in + 1;
    return next == own.end() ? std::nullopt : std::optional(*next);
  }
  // The step of which an event is.
  std::optional<size_t> of(ProcessIndex process, uint64_t event) const {
    const auto in = with(process, event);
    return in == steps_of_[process.value].end() ? std::nullopt : std::optional(*in);
  }
  // The first one that has events from `event` of the recording on. None has some in front of a
  // beginning and some behind it.
  size_t from(EventNumber event) const {
    const auto found = std::partition_point(steps_.begin(), steps_.end(), [&](const Step& step) {
      return families_.strand(step.process).global_number({step.last}) < event;
    });
    return static_cast<size_t>(found - steps_.begin());
  }

 private:
  std::vector<size_t>::const_iterator with(ProcessIndex process, uint64_t event) const {
    const std::vector<size_t>& own = steps_of_[process.value];
    return std::lower_bound(own.begin(), own.end(), event, [this](size_t step, uint64_t number) {
      return steps_[step].last < number;
    });
  }

  const Families& families_;
  size_t number_;
  const std::vector<Step>& steps_;
  std::vector<std::vector<size_t>> steps_of_;  // by ProcessIndex
};

// One family, as far as it has been replayed, from its start or a beginning of the recording on.
//
//   steps of P and Q in the log   P P Q Q Q P P
//                                    ^     ^
//                     stores of Q ---+     are known when P's next step is about to begin, and
//                     are P's behind       belong to the event with which its last one ended
class SharedStores::FamilyHistory {
 public:
  FamilyHistory(trace::EventSource& recording, const FamilySteps& steps)
      : recording_(recording),
        families_(steps.families()),
        steps_(steps),
        members_(families_.processes()) {}

  // From a beginning of the recording on, by its index, or from the family's own.
  Result<void> begin(std::optional<size_t> beginning, std::optional<int> cpu,
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
  // What it knows is of what comes from this event on.
  EventNumber begins_with() const { return begins_with_; }
  // The step that is replayed next.
  size_t next_step() const { return next_; }
  bool has_come_to(size_t step) const { return next_ > step || (next_ == step && is_prepared_); }
  Result<void> go_to(size_t step, const Listener& listener) {
    while (!has_come_to(step)) {
      if (is_prepared_) {
        RCHK_TRY(run(steps_.at(next_)));
        ++next_;
      } else {
        RCHK_TRY(prepare(steps_.at(next_).process));
      }
      is_prepared_ = !is_prepared_;
      if (listener.progress) listener.progress(next_ - first_, step - first_);
    }
    return {};
  }

  Stores stores_behind(EventNumber event, uint32_t space) const {
    const auto known = stores_.find({space, event});
    return known == stores_.end() ? nullptr : known->second;
  }
  std::vector<Stores> stores_before(EventNumber event, uint32_t space) const {
    std::vector<Stores> all;
    const auto end = stores_.lower_bound({space, event});
    for (auto one = stores_.lower_bound({space, EventNumber{0}}); one != end; ++one) {
      all.push_back(one->second);
    }
    return all;
  }

 private:
  struct Member {
    SharedViews views;
    ChangedBytes pending;  // by others, since its last step
    EventNumber last;      // its last event, by the recording's number
  };

  // A process is about to go on: it finds what others have stored meanwhile.
  Result<void> prepare(ProcessIndex process) {
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

  Result<void> run(const Step& step) {
    RCHK_TRY_ASSIGN(const bool ended, replay_->advance(step));
    RCHK_TRY(take_stores(step.process, *replay_->guest_of(step.process)));
    if (ended) replay_->end(step.process);
    return {};
  }

  Result<void> take_stores(ProcessIndex process, Guest& guest) {
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

  trace::EventSource& recording_;
  const Families& families_;
  const FamilySteps& steps_;
  std::vector<Member> members_;  // by ProcessIndex
  EventNumber begins_with_{0};
  size_t first_ = 0;  // step
  std::optional<FamilyReplay> replay_;
  size_t next_ = 0;           // the step that is run next
  bool is_prepared_ = false;  // and its process has what others have stored
  SharedContents contents_;
  std::map<std::pair<uint32_t, EventNumber>, std::shared_ptr<std::vector<trace::MemoryWrite>>>
      stores_;  // by address space and event
};

SharedStores::SharedStores(trace::EventSource& recording, std::optional<int> cpu,
                           trace::SyscallNamer namer, Listener listener)
    : recording_(recording),
      cpu_(cpu),
      namer_(std::move(namer)),
      listener_(std::move(listener)),
      maker_(getpid()) {}
SharedStores::~SharedStores() = default;

Result<SharedStores::Place> SharedStores::find(EventNumber event, uint32_t space) {
  // A live one has grown: families may have become one.
  if (!families_ || known_events_ != recording_.event_count()) {
    sharing_.clear();
    families_.reset();
    known_events_ = recording_.event_count();
    auto families = Families::of(recording_, false);
    if (!families && !tell_if_lost(families.error())) return Failure(families.error());
    families_ = families ? std::move(*families) : Families();
    sharing_.resize(families_->all().size());
  }
  if (is_lost_) return Place();
  const auto process = families_->owner_of(space);
  if (!process) return Place();
  const size_t family = families_->family_of(*process);
  const auto local = families_->strand(*process).local_number(event);
  if (!families_->all()[family].stores_to_shared_memory || !local) return Place();
  Sharing& sharing = sharing_[family];
  if (sharing.steps == nullptr) sharing.steps = std::make_unique<FamilySteps>(*families_, family);
  return Place{&sharing, *process, local->value};
}

// The last one from which on it can be learned what was stored behind an event.
std::optional<size_t> SharedStores::beginning_for(EventNumber event) const {
  trace::SnapshotSource* const snapshots = recording_.snapshots();
  if (snapshots == nullptr || !begins_within_) return std::nullopt;
  const auto& all = snapshots->beginnings();
  const auto behind = std::upper_bound(all.begin(), all.end(), event.next());
  if (behind == all.begin()) return std::nullopt;
  return static_cast<size_t>(behind - all.begin()) - 1;
}

Result<SharedStores::FamilyHistory*> SharedStores::come_to(Sharing& sharing, EventNumber event,
                                                           size_t step) {
  FamilyHistory* nearest = nullptr;
  for (const auto& history : sharing.histories) {
    if (event.next() < history->begins_with()) continue;
    if (history->has_come_to(step)) return history.get();
    const bool is_nearer = nearest == nullptr || nearest->next_step() < history->next_step();
    if (is_nearer) nearest = history.get();
  }
  if (getpid() != maker_) {
    return fail(ErrorKind::kSystem, "another process has to replay what comes before");
  }
  const std::optional<size_t> beginning = beginning_for(event);
  const auto come = [&]() -> Result<void> {
    const size_t from =
        beginning ? sharing.steps->from(recording_.snapshots()->beginnings()[*beginning]) : 0;
    if (nearest == nullptr || nearest->next_step() < from) {
      if (sharing.histories.size() >= kMostHistories) sharing.histories.pop_front();
      auto begun = std::make_unique<FamilyHistory>(recording_, *sharing.steps);
      RCHK_TRY(begun->begin(beginning, cpu_, namer_));
      nearest = sharing.histories.emplace_back(std::move(begun)).get();
    }
    return nearest->go_to(step, listener_);
  };
  const Result<void> success = come();
  if (success) return nearest;
  if (!beginning || !is_of_recording(success.error())) {
    return tell_if_lost(success.error()) ? Result<FamilyHistory*>(nullptr)
                                         : Failure(success.error());
  }
  begins_within_ = false;
  sharing.histories.clear();
  if (listener_.lost) {
    listener_.lost(
        fmt::format("what other processes store to shared memory is learned from the "
                    "start on: {}",
                    success.error().message()));
  }
  return come_to(sharing, event, step);
}

bool SharedStores::tell_if_lost(const Error& error) {
  if (!is_of_recording(error)) return false;
  if (!std::exchange(is_lost_, true) && listener_.lost) {
    listener_.lost(fmt::format("what other processes store to shared memory is not known: {}",
                               error.message()));
  }
  return true;
}

Result<trace::StoresOfOthers::Stores> SharedStores::behind(EventNumber event, uint32_t space) {
  RCHK_TRY_ASSIGN(const Place place, find(event, space));
  if (place.sharing == nullptr) return Stores();
  const auto step = place.sharing->steps->behind(place.process, place.event);
  if (!step) return Stores();
  RCHK_TRY_ASSIGN(const FamilyHistory* const history, come_to(*place.sharing, event, *step));
  return history != nullptr ? history->stores_behind(event, space) : Stores();
}

Result<std::vector<trace::StoresOfOthers::Stores>> SharedStores::before(EventNumber event,
                                                                        uint32_t space) {
  // Who makes beginnings has in page snapshots what may be stored to, whoever it is read by.
  trace::SnapshotSource* const snapshots = recording_.snapshots();
  const bool is_in_snapshots =
      snapshots != nullptr && !snapshots->beginnings().empty() && !recording_.dropped();
  if (is_in_snapshots) return std::vector<Stores>();
  RCHK_TRY_ASSIGN(const Place place, find(event, space));
  if (place.sharing == nullptr) return std::vector<Stores>();
  const auto step = place.sharing->steps->of(place.process, place.event);
  if (!step) return std::vector<Stores>();
  RCHK_TRY_ASSIGN(const FamilyHistory* const history, come_to(*place.sharing, {0}, *step));
  return history != nullptr ? history->stores_before(event, space) : std::vector<Stores>();
}

}  // namespace rchk::replay
