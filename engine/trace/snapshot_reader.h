#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "engine/trace/container.h"
#include "engine/trace/recently_used.h"
#include "engine/trace/snapshot.h"

namespace rchk::trace {

struct DecodedSnapshot;

// The page snapshots of a recording's file, loaded when they are asked for.
class SnapshotReader final : public SnapshotSource {
 public:
  // `container` outlives it.
  explicit SnapshotReader(const Container& container);
  ~SnapshotReader() override;

  // Takes a chunk in, if it is one that has to do with snapshots. Called for all, in order.
  Result<void> take_in(const IndexEntry& chunk);
  bool empty() const { return marks_.empty(); }
  uint64_t stored_bytes() const { return stored_bytes_; }

  const std::vector<SnapshotMark>& marks() const override { return marks_; }
  Result<std::shared_ptr<const Snapshot>> snapshot(SnapshotNumber number) override;
  Result<std::vector<snapshot::PageChange>> changes(SnapshotNumber number) override;
  Result<std::vector<snapshot::PageChange>> pages(SnapshotNumber number) override;
  Result<std::shared_ptr<const Bytes>> page_chunk(uint32_t chunk) override;

 private:
  struct Entry {
    IndexEntry chunk;
    std::optional<IndexEntry> directory;
    std::optional<SnapshotNumber> before;  // of the same space
  };
  // REQUIRES for all of these: the mutex is held.
  Result<const Entry*> entry(SnapshotNumber number) const;
  Result<std::shared_ptr<const DecodedSnapshot>> decoded(SnapshotNumber number);
  std::string place_of(const IndexEntry& chunk) const;

  const Container& container_;
  std::vector<SnapshotMark> marks_;
  std::vector<Entry> entries_;                       // by SnapshotNumber
  std::unordered_map<uint32_t, IndexEntry> chunks_;  // of pages, by number
  std::map<uint32_t, SnapshotNumber> last_of_space_;
  uint64_t stored_bytes_ = 0;

  std::mutex mutex_;  // of what follows
  ChunkDecoder decoder_;
  RecentlyUsed<DecodedSnapshot> recent_;
  RecentlyUsed<Bytes> recent_chunks_;
};

}  // namespace rchk::trace
