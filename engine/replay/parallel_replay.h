#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "engine/replay/families.h"
#include "engine/replay/replay_totals.h"
#include "engine/trace/dump.h"
#include "engine/trace/source.h"

namespace rchk::replay {

struct ParallelOptions {
  int cpu = 0;               // this process's
  std::vector<int> cores;    // a worker process on each of them
  bool restores = false;     // every page snapshot as well, and all memory compared
  bool cuts_always = false;  // at each snapshot that serves, however little lies between
  trace::SyscallNamer namer;
};

// Replays a whole recording from its start to its end, several pieces at a time, in worker
// processes. Every check of a replay in one go is made.
//
// A piece is a family of processes, whose guests share memory where the processes did; or, of one
// process that is alone in its family, a *stretch* that begins at a page snapshot. At the end of a
// stretch all memory is compared with that of the guest that the next one began with: so the whole
// is as good as one long replay.
//
// A debugger looks at one process (trace::ProcessView).
class ParallelReplay {
 public:
  // Called in the log's order, each event once, some time after it was replayed.
  using OnEvent = std::function<Result<void>(EventNumber, const trace::Event&)>;
  // Called now and then with how many events were replayed, wherever.
  using OnProgress = std::function<void(uint64_t events)>;

  // Looks for places to cut at. `recording` outlives what it returns.
  static Result<ParallelReplay> plan(trace::EventSource& recording, ParallelOptions options);
  // Of one, run() has nothing to do at the same time.
  size_t pieces() const { return pieces_.size(); }
  // How many worker processes run() starts, if it can.
  size_t workers() const { return workers_; }

  // REQUIRES: this process has one thread, where there are workers. Either function may be empty.
  // Errors: those of a replay; of several that which comes first in the log.
  Result<ReplayTotals> run(const OnEvent& on_event, const OnProgress& on_progress);

 private:
  struct Piece {
    size_t family = 0;
    // Of a stretch, by the numbers of its process.
    std::optional<trace::SnapshotNumber> begin;  // nothing: the family's beginning
    EventNumber first;                           // behind which it begins
    std::optional<EventNumber> last;             // with which it ends; nothing: the family's end
    bool is_whole_family() const { return !begin && !last; }
  };
  class Hand;
  class Work;

  ParallelReplay(trace::EventSource& recording, ParallelOptions options, Families families)
      : recording_(recording), options_(std::move(options)), families_(std::move(families)) {}
  // Cuts a family at the snapshots at which a replay can begin so that nothing tells it from one
  // that came by.
  Result<std::vector<Piece>> pieces_of(size_t family, uint64_t& guest_bytes) const;
  // With which a piece ends.
  EventNumber last_of(const Piece& piece) const;

  trace::EventSource& recording_;
  ParallelOptions options_;
  Families families_;
  std::vector<Piece> pieces_;
  size_t workers_ = 0;
};

}  // namespace rchk::replay
