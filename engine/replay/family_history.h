#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "engine/replay/families.h"
#include "engine/replay/family_replay.h"
#include "engine/replay/shared_pages.h"
#include "engine/trace/source.h"

namespace rchk::replay {

// The steps of one family, by number.
class FamilySteps {
 public:
  // `families` outlive it.
  FamilySteps(const Families& families, size_t family);

  const Families& families() const { return families_; }
  size_t family() const { return number_; }
  const Step& at(size_t step) const { return steps_[step]; }

  // The step at whose beginning it is known what others have stored behind an event, which goes by
  // the number that the process has for it.
  std::optional<size_t> behind(trace::ProcessIndex process, uint64_t event) const;
  // The step of which an event is.
  std::optional<size_t> of(trace::ProcessIndex process, uint64_t event) const;
  // The first one that has events from `event` of the recording on. None has some in front of a
  // beginning and some behind it.
  size_t from(EventNumber event) const;

 private:
  std::vector<size_t>::const_iterator with(trace::ProcessIndex process, uint64_t event) const;

  const Families& families_;
  size_t number_;
  const std::vector<Step>& steps_;
  std::vector<std::vector<size_t>> steps_of_;  // by ProcessIndex
};

// One family, as far as it has been replayed, from its start or a beginning of the recording on,
// and what its processes have stored to memory that others share.
//
//   steps of P and Q in the log   P P Q Q Q P P
//                                    ^     ^
//                     stores of Q ---+     are known when P's next step is about to begin, and
//                     are P's behind       belong to the event with which its last one ended
class FamilyHistory {
 public:
  using Stores = trace::StoresOfOthers::Stores;
  // Called with how many steps of how many were replayed.
  using Progress = std::function<void(uint64_t steps, uint64_t all)>;

  // Both outlive it.
  FamilyHistory(trace::EventSource& recording, const FamilySteps& steps);

  // From a beginning of the recording on, by its index, or from the family's own.
  // REQUIRES: called once, before all others.
  Result<void> begin(std::optional<size_t> beginning, std::optional<int> cpu,
                     trace::SyscallNamer namer);
  // What it knows is of what comes from this event on.
  EventNumber begins_with() const { return begins_with_; }
  // The step that is replayed next.
  size_t next_step() const { return next_; }
  bool has_come_to(size_t step) const { return next_ > step || (next_ == step && is_prepared_); }
  // Replays up to the beginning of a step. `progress` may be empty.
  Result<void> go_to(size_t step, const Progress& progress);

  // What others stored behind an event to an address space, null for nothing; behind all in front
  // of one, in their order.
  Stores stores_behind(EventNumber event, uint32_t space) const;
  std::vector<Stores> stores_before(EventNumber event, uint32_t space) const;

 private:
  struct Member {
    SharedViews views;
    ChangedBytes pending;  // by others, since its last step
    EventNumber last;      // its last event, by the recording's number
  };

  // A process is about to go on: it finds what others have stored meanwhile.
  Result<void> prepare(trace::ProcessIndex process);
  Result<void> run(const Step& step);
  Result<void> take_stores(trace::ProcessIndex process, Guest& guest);

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

}  // namespace rchk::replay
