#include "engine/replay/shared_stores.h"

#include <algorithm>

#include <unistd.h>

#include "engine/replay/error_cause.h"

namespace rchk::replay {

namespace {

// Of a family: each has guests of all processes.
constexpr size_t kMostHistories = 3;

}  // namespace

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

Result<FamilyHistory*> SharedStores::come_to(Sharing& sharing, EventNumber event, size_t step) {
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
    return nearest->go_to(step, listener_.progress);
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
