#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "base/result.h"
#include "base/types.h"
#include "engine/replay/families.h"
#include "engine/replay/family_history.h"
#include "engine/trace/source.h"

namespace rchk::replay {

// Learns what processes store to memory that they share, by replays of all of their family beside
// the one that asks: from the last beginning of the recording in front of what was asked for, and
// as far as that (docs/notes/shared-memory.md).
class SharedStores final : public trace::StoresOfOthers {
 public:
  // Both may be empty.
  struct Listener {
    // Called now and then while it takes long, with how many steps of how many were replayed; and
    // once more when that is over.
    std::function<void(uint64_t steps, uint64_t all)> progress;
    // Called with a sentence where the others cannot be replayed: from a beginning of the recording
    // on, so that it takes longer; or at all, so that nothing of theirs is known from there on.
    std::function<void(std::string_view)> lost;
  };

  // `recording` outlives it.
  SharedStores(trace::EventSource& recording, std::optional<int> cpu, trace::SyscallNamer namer,
               Listener listener);
  ~SharedStores() override;

  // A fork of the process that made this knows what was known then: else kSystem.
  Result<Stores> behind(EventNumber event, uint32_t space) override;
  Result<std::vector<Stores>> before(EventNumber event, uint32_t space) override;
  bool is_ready() const override { return families_.has_value(); }

 private:
  // What is known of a family that shares memory.
  struct Sharing {
    std::unique_ptr<FamilySteps> steps;                   // once it was asked for
    std::list<std::unique_ptr<FamilyHistory>> histories;  // the latest last
  };
  struct Place {
    Sharing* sharing = nullptr;  // null: nothing is shared
    trace::ProcessIndex process;
    uint64_t event = 0;  // by the number that the process has for it
  };
  Result<Place> find(EventNumber event, uint32_t space);
  std::optional<size_t> beginning_for(EventNumber event) const;
  // One that has come to a step and knows what was stored behind an event in front of it; null
  // where it is lost.
  Result<FamilyHistory*> come_to(Sharing& sharing, EventNumber event, size_t step);
  // Whether an error is of the recording, and so what it would have told is lost.
  bool tell_if_lost(const Error& error);

  trace::EventSource& recording_;
  std::optional<int> cpu_;
  trace::SyscallNamer namer_;
  Listener listener_;
  bool is_lost_ = false;
  pid_t maker_;
  std::optional<Families> families_;
  uint64_t known_events_ = 0;     // of the recording, when they were sorted
  std::vector<Sharing> sharing_;  // by family
  bool begins_within_ = true;     // at beginnings of the recording
};

// A recording of which single processes can be replayed although they share memory with others.
class SharedHistory final : public trace::PartOfRecording {
 public:
  SharedHistory(trace::EventSource& recording, SharedStores& stores)
      : PartOfRecording(recording), stores_(stores) {}
  uint64_t event_count() const override { return recording_.event_count(); }
  Result<std::shared_ptr<const trace::Event>> event(EventNumber number) override {
    return recording_.event(number);
  }
  std::optional<trace::TaskCount> task_count() const override { return recording_.task_count(); }
  const trace::ProcessMap* process_map() const override { return recording_.process_map(); }
  trace::StoresOfOthers* stores_of_others() override { return &stores_; }

 private:
  SharedStores& stores_;
};

}  // namespace rchk::replay
