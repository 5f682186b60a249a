#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "engine/trace/dump.h"
#include "engine/trace/source.h"

namespace rchk::replay {

// What a replay of a whole recording came to.
struct ReplayTotals {
  uint64_t instructions = 0;
  uint64_t checksums = 0;       // of memory, that agreed
  uint64_t snapshots = 0;       // page snapshots that it came by
  uint64_t snapshot_pages = 0;  // that changed in them
  uint64_t snapshots_restored = 0;
  std::optional<EventNumber> exit;  // the event by which the program ends, if there is one
  ReplayTotals& operator+=(const ReplayTotals& other);
};

struct ParallelOptions {
  int cpu = 0;               // this process's
  std::vector<int> cores;    // a worker process on each of them
  bool restores = false;     // every page snapshot as well, and all memory compared
  bool cuts_always = false;  // at each snapshot that serves, however little lies between
  trace::SyscallNamer namer;
};

// Replays the recording of one process from its start to its end in stretches that begin at page
// snapshots, several at a time, in worker processes. Every check of a replay from the start is
// made; and at the end of a stretch all memory is compared with that of the guest that the next one
// began with: so the whole is as good as one long replay.
class ParallelReplay {
 public:
  // Called in the log's order, each event once, some time after it was replayed.
  using OnEvent = std::function<Result<void>(EventNumber, const trace::Event&)>;
  // Called now and then with how many events were replayed, wherever.
  using OnProgress = std::function<void(uint64_t events)>;

  // Looks for places to cut at. `source` has the events of one process and outlives this.
  static Result<ParallelReplay> plan(trace::EventSource& source, ParallelOptions options);
  // Of one, run() has nothing to do at the same time.
  size_t stretches() const { return stretches_.size(); }
  // How many worker processes run() starts, if it can.
  size_t workers() const;

  // REQUIRES: this process has one thread. Either function may be empty. Errors: those of a replay,
  // of the first stretch that has one.
  Result<ReplayTotals> run(const OnEvent& on_event, const OnProgress& on_progress);

 private:
  struct Stretch {
    std::optional<trace::SnapshotNumber> begin;  // nothing: the start of the recording
    EventNumber first;                           // behind which it begins
    std::optional<EventNumber> last;             // with which it ends; nothing: the recording's end
  };
  class Hand;
  class Work;

  ParallelReplay(trace::EventSource& source, ParallelOptions options)
      : source_(source), options_(std::move(options)) {}
  // The snapshots at which a replay can begin so that nothing tells it from one that came by.
  Result<std::vector<Stretch>> all_stretches() const;

  trace::EventSource& source_;
  ParallelOptions options_;
  std::vector<Stretch> stretches_;
  uint64_t guest_bytes_ = 0;  // that a worker's guest has, about
};

}  // namespace rchk::replay
