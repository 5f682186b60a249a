#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "engine/trace/event_runs.h"
#include "engine/trace/process_table.h"
#include "engine/trace/source.h"

namespace rchk::replay {

// The events of one process from its beginning, as numbered in the recording.
class Strand final : public trace::PartOfRecording {
 public:
  explicit Strand(trace::EventSource& recording) : PartOfRecording(recording) {}

  trace::EventRuns& runs() { return runs_; }
  uint64_t event_count() const override { return runs_.size(); }
  Result<std::shared_ptr<const trace::Event>> event(EventNumber number) override;
  EventNumber global_number(EventNumber number) const override;
  std::optional<EventNumber> local_number(EventNumber global) const override;
  uint64_t events_before(EventNumber global) const override { return runs_.before(global); }

 private:
  trace::EventRuns runs_;
};

// As many events of one process as follow one another in the recording, without a beginning between
// them.
struct Step {
  trace::ProcessIndex process;
  uint64_t last = 0;  // the number of the last one among the process's own
};

// Processes that have memory in common, or had when one forked the other, with all of their events
// in the log's order. Families have nothing to do with each other.
struct Family {
  std::vector<Step> steps;
  bool is_of_one_process = true;
  bool stores_to_shared_memory = false;  // that several of them have
};

// The processes of a recording, sorted into families.
class Families {
 public:
  Families() = default;  // of no process
  // Reads the whole log to learn whose its events are, unless all are of one process. `recording`
  // outlives what it returns. With `as_one` all make one family.
  static Result<Families> of(trace::EventSource& recording, bool as_one);

  size_t processes() const { return strands_.size(); }
  Strand& strand(trace::ProcessIndex process) const { return *strands_[process.value]; }
  const std::vector<Step>& steps() const { return steps_; }     // of all, in the log's order
  const std::vector<Family>& all() const { return families_; }  // in the order they begin in
  size_t family_of(trace::ProcessIndex process) const { return family_of_[process.value]; }
  // Where the process's first event is its SpawnEvent: what it is the fork of.
  trace::ProcessIndex forked_from(trace::ProcessIndex process) const {
    return *table_->process(process).memory_from;
  }
  // The event by which the recorded program ends, if that is where this process's guest comes to
  // its end, by `last` of its own events.
  std::optional<EventNumber> program_end(trace::ProcessIndex process, EventNumber last) const;
  // Whose an address space is.
  std::optional<trace::ProcessIndex> owner_of(uint32_t space) const;

 private:
  // Takes the next event of a process in, in a step of its own if it `begins` one.
  void add(trace::EventSource& recording, trace::ProcessIndex process, EventNumber event,
           bool begins);

  std::optional<trace::ProcessTable> table_;      // unless all events are of one process
  std::vector<std::unique_ptr<Strand>> strands_;  // by ProcessIndex
  std::vector<Step> steps_;
  std::vector<size_t> family_of_;  // by ProcessIndex
  std::vector<Family> families_;
};

}  // namespace rchk::replay
