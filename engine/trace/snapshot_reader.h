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

struct Beginning;
struct DecodedSnapshot;

// The page snapshots of a recording's file, loaded when they are asked for.
class SnapshotReader final : public SnapshotSource {
 public:
  // `container` outlives it.
  explicit SnapshotReader(const Container& container);
  ~SnapshotReader() override;

  // Takes a chunk in, if it is one that has to do with snapshots. Called for all, in order.
  Result<void> take_in(const IndexEntry& chunk);
  // How a recording counts of which the front was dropped: event `first_event` of the whole one is
  // number `resumed` here, and the first page snapshot was number `snapshots`. `programs` are
  // events and spaces of the whole one; in their order they are the first events here.
  struct Numbers {
    uint64_t first_event = 0;
    uint64_t resumed = 0;
    uint32_t snapshots = 0;
    std::vector<std::pair<uint64_t, uint32_t>> programs;
  };
  // REQUIRES: no snapshot was taken in.
  void count_from(Numbers numbers);
  bool empty() const { return marks_.empty() && !beginning_; }
  uint64_t stored_bytes() const { return stored_bytes_; }

  const std::vector<SnapshotMark>& marks() const override { return marks_; }
  Result<std::shared_ptr<const Snapshot>> snapshot(SnapshotNumber number) override;
  Result<std::vector<snapshot::PageChange>> changes(SnapshotNumber number) override;
  Result<std::vector<snapshot::PageChange>> pages(SnapshotNumber number) override;
  Result<std::shared_ptr<const Bytes>> page_chunk(uint32_t chunk) override;
  const std::vector<EventNumber>& beginnings() const override { return beginnings_; }
  Result<std::shared_ptr<const std::vector<Event>>> beginning(size_t index) override;

 private:
  struct Entry {
    IndexEntry chunk;
    std::optional<IndexEntry> directory;
    std::optional<SnapshotNumber> before;  // of the same space
    // Without that: what its changes are differences to, if there is one.
    std::optional<IndexEntry> beginning;
  };
  EventNumber event_here(uint64_t in_whole) const {
    return {in_whole - numbers_.first_event + numbers_.resumed};
  }
  EventNumber program_here(EventNumber program, uint32_t space) const;
  // REQUIRES for all of these: the mutex is held.
  Result<const Entry*> entry(SnapshotNumber number) const;
  Result<std::shared_ptr<const DecodedSnapshot>> decoded(SnapshotNumber number);
  Result<std::shared_ptr<const Beginning>> decoded_beginning(const IndexEntry& chunk);
  Result<std::vector<snapshot::PageChange>> pages_at(const IndexEntry& beginning, uint32_t space);
  std::string place_of(const IndexEntry& chunk) const;

  const Container& container_;
  std::vector<SnapshotMark> marks_;
  std::vector<Entry> entries_;  // by SnapshotNumber
  struct PagePlace {
    IndexEntry chunk;
    uint32_t index = 0;  // among those that are in it
  };
  std::unordered_map<uint32_t, PagePlace> chunks_;    // of pages, by number
  std::map<uint32_t, SnapshotNumber> last_of_space_;  // since the last beginning
  std::optional<IndexEntry> beginning_;               // the last one
  // Those behind the start, and where they are.
  std::vector<EventNumber> beginnings_;
  std::vector<IndexEntry> beginning_chunks_;
  Numbers numbers_;
  uint64_t stored_bytes_ = 0;

  std::mutex mutex_;  // of what follows
  ChunkDecoder decoder_;
  RecentlyUsed<DecodedSnapshot> recent_;
  RecentlyUsed<std::vector<Bytes>> recent_groups_;
  RecentlyUsed<Beginning> recent_beginnings_;
};

}  // namespace rchk::trace
