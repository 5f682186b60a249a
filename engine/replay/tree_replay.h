#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "engine/replay/parallel_replay.h"
#include "engine/trace/process_table.h"
#include "engine/trace/source.h"

namespace rchk::replay {

// Re-executes all processes of a recording: one guest and one replayer for each, forked where the
// program forked. What processes share in memory, their guests share. For checks of whole
// recordings; a debugger looks at one process (trace::ProcessView).
//
// Processes that have memory in common, or had when one forked the other, are a *family*: they are
// replayed in the order of the log. Families have nothing to do with each other, and are replayed
// several at a time, in worker processes.
class TreeReplay {
 public:
  // `recording` outlives it. Reads the whole log to learn whose its events are.
  static Result<std::unique_ptr<TreeReplay>> create(trace::EventSource& recording,
                                                    ParallelOptions options);
  ~TreeReplay();

  size_t families() const { return families_.size(); }

  using OnEvent = ParallelReplay::OnEvent;
  using OnProgress = ParallelReplay::OnProgress;
  // From the start to the end. The functions are called as those of a ParallelReplay are; `exit` of
  // what it returns is that of the first process. Errors: those of a replay; of several that which
  // comes first in the log.
  // REQUIRES: this process has one thread, where there are cores for workers.
  Result<ReplayTotals> run(const OnEvent& on_event, const OnProgress& on_progress);

 private:
  class Strand;
  struct Member;
  class Hand;
  class Work;
  // As many events of one process as follow one another.
  struct Step {
    trace::ProcessIndex process;
    uint64_t last = 0;  // the number of the last one among the process's own
  };
  using Family = std::vector<Step>;

  TreeReplay(trace::EventSource& recording, ParallelOptions options);
  Result<void> sort_events();
  void add(trace::ProcessIndex process, EventNumber event);

  trace::EventSource& recording_;
  ParallelOptions options_;
  trace::ProcessTable table_;
  std::vector<std::unique_ptr<Member>> members_;  // by ProcessIndex
  std::vector<Step> steps_;
  std::vector<uint32_t> family_of_;  // by ProcessIndex
  std::vector<Family> families_;     // in the order in which they begin
};

}  // namespace rchk::replay
