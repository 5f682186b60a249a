#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/trace/event_runs.h"
#include "engine/trace/process_table.h"
#include "engine/trace/source.h"

namespace rchk::trace {

// The events of one process out of a recording of several, numbered from 0: those of the memory
// that it had, and of what of its ancestors' a replay of it needs. A child of vfork that uses its
// memory is in it, up to the ExecEvent by which the child leaves.
//
// Grows while the recording does. Safe to be called from several threads, like the recording.
class ProcessView final : public PartOfRecording {
 public:
  enum class Start : uint8_t {
    kProgram,  // the first program that the process executed; if there is none, as kFork
    kFork,     // the process's beginning, with what is needed to come there
    // As kFork, also for a child of vfork: with what its parent's other tasks did in the memory
    // that it used, until it executed a program or ended.
    kBorrowed,
  };
  // kMisuse where a process has no events of its own to be replayed: a child of vfork that executed
  // no program. `recording` outlives the view.
  static Result<std::unique_ptr<ProcessView>> create(EventSource& recording,
                                                     const ProcessTable& table,
                                                     ProcessIndex process, Start start);
  // Of the first process, from its start.
  static std::unique_ptr<ProcessView> of_first(EventSource& recording);

  uint64_t event_count() const override;
  Result<std::shared_ptr<const Event>> event(EventNumber number) override;
  EventNumber global_number(EventNumber number) const override;
  std::optional<EventNumber> local_number(EventNumber global) const override;
  std::optional<EventNumber> departure() const override;

  // The number of the event with which the process itself begins, behind what comes before.
  Result<EventNumber> beginning();

 private:
  // A stretch of the recording in which the events of one process count.
  struct Stage {
    ProcessIndex process;
    EventNumber begin;
    EventNumber end;
  };
  ProcessView(EventSource& recording, std::vector<Stage> stages, EventNumber begin,
              std::optional<ProcessIndex> borrower)
      : PartOfRecording(recording),
        stages_(std::move(stages)),
        begin_(begin),
        borrower_(borrower) {}
  static std::vector<Stage> stages_before(const ProcessTable& table, ProcessIndex process,
                                          EventNumber end);
  // True while all that there is belongs to the process: then nothing needs to be sorted.
  bool is_everything() const;
  bool has_ended(ProcessIndex process) const;
  // Takes in what the recording has by now. REQUIRES: the mutex is held.
  void catch_up() const;

  const std::vector<Stage> stages_;
  const EventNumber begin_;                     // of the process itself, in the recording
  const std::optional<ProcessIndex> borrower_;  // the process, if it is a child of vfork
  mutable std::mutex mutex_;                    // of what follows
  mutable ProcessTable table_;
  mutable size_t stage_ = 0;
  mutable EventRuns runs_;
  mutable std::optional<uint64_t> beginning_;
  mutable std::optional<EventNumber> departure_;  // a number of the view's
  mutable bool ended_ = false;                    // the borrower has: no more events count
  mutable std::optional<Error> failure_;          // nothing behind it counts
};

}  // namespace rchk::trace
