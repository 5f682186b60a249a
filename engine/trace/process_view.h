#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/trace/process_table.h"
#include "engine/trace/source.h"
#include "engine/trace/view_numbers.h"

namespace rchk::trace {

// The events of one process out of a recording of several, numbered from 0: those of the memory
// that it had, and of what of its ancestors' a replay of it needs. A child of vfork that uses its
// memory is in it, up to the ExecEvent by which the child leaves.
//
// Where the recording knows its processes by itself, events are read only where somebody asks for
// them. Grows while the recording does. Safe to be called from several threads, like the recording.
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
  uint64_t events_before(EventNumber global) const override;
  std::optional<EventNumber> departure() const override;

  // The number of the event with which the process itself begins, behind what comes before.
  Result<EventNumber> beginning();

 private:
  ProcessView(EventSource& recording, ViewNumbers::Plan plan);
  static std::vector<ViewStage> stages_before(const ProcessTable& table, ProcessIndex process,
                                              EventNumber end);
  // True while all that there is belongs to the process: then nothing needs to be sorted.
  bool is_everything() const;

  const bool is_from_start_;
  mutable std::mutex mutex_;  // of the numbers
  const std::unique_ptr<ViewNumbers> numbers_;
};

}  // namespace rchk::trace
