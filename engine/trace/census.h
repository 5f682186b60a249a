#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "engine/trace/process_map.h"
#include "engine/trace/process_table.h"
#include "engine/trace/snapshot.h"
#include "engine/trace/source.h"

namespace rchk::trace {

// What the end of a recording says of all of it.
struct EndNotes {
  TaskCount count;
  Bytes processes;  // the payload of a chunk of processes; empty where the events cannot be
};

// Takes in the events of a recording while it is written, for the notes at its end: from each
// generation on that is kept.
class Census {
 public:
  void add(const Event& event);
  // The events since the last one are a batch.
  void end_batch();
  // A generation begins. REQUIRES: the events before it are in batches.
  void begin_anew(const std::vector<KeptProcess>& processes);
  // Nothing is kept of what comes before that generation.
  void drop_before(uint64_t first_event);
  // Of what is kept from a generation on. REQUIRES: one begins there; all events are in batches.
  EndNotes notes_from(uint64_t first_event) const;

 private:
  struct Generation {
    uint64_t first_event = 0;
    TaskCount count;
    ProcessTable table;
    bool cannot_be = false;
    void add(const Event& event);
  };
  struct Batch {
    uint64_t first_event = 0;
    std::vector<SpaceShare> shares;
  };

  std::deque<Generation> generations_{1};
  std::deque<Batch> batches_;  // of all generations
  ShareCounter open_;
  uint64_t event_count_ = 0, batch_begin_ = 0;
};

}  // namespace rchk::trace
