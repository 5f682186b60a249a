#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/types.h"
#include "engine/trace/process_table.h"

namespace rchk::trace {

// What of a batch of events happened in one address space.
struct SpaceShare {
  uint32_t space = 0;
  uint32_t count = 0;  // of its events, not 0
  uint32_t first = 0;  // where in the batch the first and the last one are
  uint32_t last = 0;
  bool operator==(const SpaceShare&) const = default;
};

// A batch of events, as a recording has them.
struct BatchRange {
  EventNumber first;
  uint32_t count = 0;
  bool operator==(const BatchRange&) const = default;
};

// The processes of a complete recording and in which of its batches their events are: what would
// otherwise be told from all events (docs/notes/opening.md). Events are numbered as readers do.
//
// It comes from a file, and may be a lie that fits together: who uses an event that it leads to
// sees whether it is there.
class ProcessMap {
 public:
  ProcessMap() = default;
  explicit ProcessMap(ProcessTable table) : table_(std::move(table)) {}
  // The batch behind those before it.
  void add_batch(BatchRange batch, const std::vector<SpaceShare>& shares);

  const ProcessTable& table() const { return table_; }
  // Together all events, in order.
  const std::vector<BatchRange>& batches() const { return batches_; }
  // By space.
  std::span<const SpaceShare> shares(size_t batch) const {
    return std::span(shares_).subspan(share_begins_[batch],
                                      share_begins_[batch + 1] - share_begins_[batch]);
  }
  std::optional<ProcessIndex> owner(uint32_t space) const;

 private:
  ProcessTable table_;
  std::vector<BatchRange> batches_;
  std::vector<SpaceShare> shares_;
  std::vector<size_t> share_begins_{0};  // of each batch; and the end
};

// Counts what of a batch happened where.
class ShareCounter {
 public:
  void add(uint32_t space);
  // By space; begins anew.
  std::vector<SpaceShare> take();

 private:
  std::vector<SpaceShare> shares_;
  size_t latest_ = 0;
  uint32_t count_ = 0;
};

// What a reader knows of a recording's events without reading them.
struct LogShape {
  // The spaces of those in front of all batches: of processes that go on where history was dropped.
  std::vector<uint32_t> resumed;
  std::vector<uint32_t> batches;  // how many events each has
};

// The payload of a chunk of processes (docs/trace-format.md): the shares of each batch in order.
Bytes encode_processes(const ProcessTable& table,
                       const std::vector<std::vector<SpaceShare>>& batches);
Result<ProcessMap> decode_processes(ByteView bytes, const LogShape& shape, const std::string& what,
                                    uint64_t base_offset);

}  // namespace rchk::trace
