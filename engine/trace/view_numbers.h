#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "engine/trace/process_map.h"
#include "engine/trace/process_table.h"
#include "engine/trace/source.h"

namespace rchk::trace {

// A stretch of a recording, events [begin, end), in which those of one process count: of the memory
// that it has, and those by which a task leaves that.
struct ViewStage {
  ProcessIndex process;
  EventNumber begin;
  EventNumber end;
};

// Which events of a recording a view of one process has (ProcessView). Called by one thread at a
// time.
class ViewNumbers {
 public:
  // What is to be known of a view.
  struct Plan {
    std::vector<ViewStage> stages;  // in order, the last one without an end
    EventNumber begin;              // of the process itself
    // The process, if it is a child of vfork. It counts as of the last stage's process until it has
    // memory of its own; where it ends before that, so does the view.
    std::optional<ProcessIndex> borrower;
  };
  virtual ~ViewNumbers() = default;

  virtual uint64_t count() = 0;
  // The number in the recording of one of them; kMisuse where there are not so many.
  virtual Result<EventNumber> at(uint64_t index) = 0;
  // The other way round.
  virtual std::optional<uint64_t> find(EventNumber event) = 0;
  // How many come before an event of the recording.
  virtual uint64_t before(EventNumber event) = 0;
  // Where the borrower has memory of its own.
  virtual std::optional<uint64_t> departure() = 0;
  // Where the process itself begins.
  virtual Result<uint64_t> beginning() = 0;
  // Whether an event is one of them, as was said of it.
  virtual bool is_right(EventNumber event, const Event& content) = 0;
};

// Told from all events, as far as there are any by now.
std::unique_ptr<ViewNumbers> numbers_of_events(EventSource& recording, ViewNumbers::Plan plan);
// Told from the recording's map; reads events only to find one within a batch.
std::unique_ptr<ViewNumbers> numbers_of_map(EventSource& recording, const ProcessMap& map,
                                            ViewNumbers::Plan plan);

}  // namespace rchk::trace
