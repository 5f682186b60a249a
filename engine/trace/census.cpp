#include "engine/trace/census.h"

#include <algorithm>

#include "base/check.h"

namespace rchk::trace {

void Census::Generation::add(const Event& event) {
  count.add(event);
  if (!cannot_be) cannot_be = !table.add(event);
}

void Census::add(const Event& event) {
  for (Generation& generation : generations_) generation.add(event);
  open_.add(event.space);
  ++event_count_;
}

void Census::end_batch() {
  if (batch_begin_ == event_count_) return;
  batches_.push_back({batch_begin_, open_.take()});
  batch_begin_ = event_count_;
}

// As a reader takes in what goes on there (Beginning).
void Census::begin_anew(const std::vector<KeptProcess>& processes) {
  Generation& generation = generations_.emplace_back();
  generation.first_event = event_count_;
  for (const KeptProcess& process : processes) {
    const auto& program = std::get<ExecEvent>(process.event.body);
    ExecEvent exec;
    exec.executable = program.executable;
    exec.pid = program.pid;
    exec.resumed = std::make_shared<const Resumed>(process.resumed);
    generation.add(
        {process.event.time_ns, std::move(exec), process.event.tid, process.event.space});
  }
}

void Census::drop_before(uint64_t first_event) {
  while (generations_.front().first_event < first_event) generations_.pop_front();
  while (!batches_.empty() && batches_.front().first_event < first_event) batches_.pop_front();
}

EndNotes Census::notes_from(uint64_t first_event) const {
  const auto found = std::find_if(
      generations_.begin(), generations_.end(),
      [&](const Generation& generation) { return generation.first_event == first_event; });
  RCHK_CHECK(found != generations_.end(), "no generation from event {}", first_event);
  RCHK_CHECK(batch_begin_ == event_count_, "events from {} on are in no batch", batch_begin_);
  EndNotes notes{found->count, {}};
  if (found->cannot_be) return notes;
  std::vector<std::vector<SpaceShare>> shares;
  for (const Batch& batch : batches_) {
    if (batch.first_event >= first_event) shares.push_back(batch.shares);
  }
  notes.processes = encode_processes(found->table, shares);
  return notes;
}

}  // namespace rchk::trace
