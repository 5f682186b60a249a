#pragma once

#include <cstdint>
#include <optional>

#include "engine/trace/source.h"

namespace rchk::record {

// How often page snapshots are to be taken.
struct SnapshotRate {
  double overhead_percent = 0;          // of the time that they may cost; 0: there are none
  uint64_t bytes_per_second = 0;        // that they may make the recording grow; 0: any
  std::optional<uint64_t> interval_ns;  // so far apart at least, and the first one so late
  uint64_t longest_ns = 2'000'000'000;  // further apart than this only for the program's own time

  uint64_t interval_or(uint64_t usual_ns) const { return interval_ns.value_or(usual_ns); }
};

// When the next page snapshot of a memory is due: so seldom that all of them together cost no more
// than their share of the time, and that the recording does not grow too fast. What they take of
// the program's own time (standing still, faults) may keep them any time apart; what they take
// beside it, of another core and of the recording, so long as the rate says, which is what going
// back in a recording then replays. There is none while the sink has yet to write the last one.
// Times are of one clock that begins above 0. `work` is what the snapshots of that memory have
// taken the sink so far; its time counts, for the program may want the other cores.
// The first one is no different, but for what it takes being a guess.
class SnapshotPace {
 public:
  // The first one is counted from when this is asked first.
  bool is_due(const SnapshotRate& rate, uint64_t now_ns, const trace::SnapshotWork& work);
  // Whether it has been due for so long that the program is to be stopped for it.
  bool is_overdue(const SnapshotRate& rate, uint64_t now_ns, const trace::SnapshotWork& work);

  // What a snapshot took, whether or not something came of it.
  struct Taken {
    uint64_t begin_ns = 0;
    uint64_t end_ns = 0;
    uint64_t tracking_ns = 0;  // of the program's time, later: for what a tracker is to tell
    trace::SnapshotWork work;  // before it
  };
  void note(const SnapshotRate& rate, const Taken& taken);

  // Whether the first one is due, for all that is known; guess_first() is to say more.
  bool wants_guess(const SnapshotRate& rate, uint64_t now_ns) const;
  // What the sink will have to do for it.
  void guess_first(trace::SnapshotWork expected) { expected_ = expected; }

 private:
  uint64_t cost_with(const trace::SnapshotWork& work) const {
    return cost_ns_ + work.ns - work_.ns;
  }
  uint64_t room_ns(const SnapshotRate& rate, const trace::SnapshotWork& work) const;
  struct Times {
    uint64_t due_ns = 0;     // when the next one is to be taken, at the first event
    uint64_t latest_ns = 0;  // when, whatever it takes beside the program
  };
  std::optional<Times> next(const SnapshotRate& rate, uint64_t now_ns,
                            const trace::SnapshotWork& work);

  uint64_t next_ns_ = 0;  // when the next one is due, but for what the sink's work adds; 0: unknown
  uint64_t last_ns_ = 0;  // when the last one was complete
  uint64_t cost_ns_ = 0;  // what it took of the program's time
  uint64_t begin_ns_ = 0;                        // when it was asked first
  std::optional<trace::SnapshotWork> expected_;  // of the first one
  trace::SnapshotWork work_;                     // what all before the last one took of the sink's
};

}  // namespace rchk::record
