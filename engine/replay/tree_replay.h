#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "engine/replay/replayer.h"
#include "engine/trace/event_runs.h"
#include "engine/trace/process_table.h"
#include "engine/trace/source.h"

namespace rchk::replay {

// Re-executes all processes of a recording, in the order of its log: one guest and one replayer for
// each, forked where the program forked. What processes share in memory, their guests share. For
// checks of whole recordings; a debugger looks at one process (trace::ProcessView).
class TreeReplay {
 public:
  // `recording` outlives it. Reads the whole log to learn whose its events are.
  static Result<std::unique_ptr<TreeReplay>> create(trace::EventSource& recording,
                                                    std::optional<int> cpu,
                                                    trace::SyscallNamer namer);
  ~TreeReplay();

  // Called behind each event, in the log's order, with its number in the recording.
  using OnEvent = std::function<Result<void>(EventNumber, const trace::Event&, const Guest&)>;
  void on_event(OnEvent call) { on_event_ = std::move(call); }

  // From the start to the end. A process's memory goes when the process does.
  Result<void> run();

  uint64_t instructions() const;
  uint64_t checksums_verified() const;
  uint64_t snapshots_verified() const;
  uint64_t pages_verified() const;
  // Every page snapshot is restored on the way, and compared.
  void restore_snapshots() { restores_ = true; }
  uint64_t snapshots_restored() const;
  // The end of the first process, if the recording has it.
  const std::optional<trace::ExitEvent>& exit() const { return exit_; }
  const trace::ProcessTable& table() const { return table_; }

 private:
  class Strand;
  struct Member;
  // As many events of one process as follow one another.
  struct Step {
    trace::ProcessIndex process;
    uint64_t last = 0;  // the number of the last one among the process's own
  };

  explicit TreeReplay(trace::EventSource& recording);
  Result<void> sort_events();
  void add(trace::ProcessIndex process, EventNumber event);
  Result<void> begin(trace::ProcessIndex index);
  Result<void> advance(const Step& step);
  void end(Member& member);
  // What was counted in processes that ended, and in those that did not.
  uint64_t total(uint64_t ended, uint64_t (Replayer::*count)() const) const;

  trace::EventSource& recording_;
  trace::ProcessTable table_;
  std::unique_ptr<Strand> nothing_;               // the source of `root_`
  std::unique_ptr<Replayer> root_;                // holds what all replayers have in common
  std::vector<std::unique_ptr<Member>> members_;  // by ProcessIndex
  std::vector<Step> steps_;
  OnEvent on_event_;
  std::optional<trace::ExitEvent> exit_;
  uint64_t instructions_ = 0;  // of those that ended, as are the checksums
  uint64_t checksums_ = 0;
  uint64_t snapshots_ = 0;
  uint64_t pages_ = 0;
  uint64_t restored_ = 0;
  bool restores_ = false;
};

}  // namespace rchk::replay
