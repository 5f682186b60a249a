#pragma once

#include <list>
#include <map>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/types.h"
#include "snapshot/page_store.h"

namespace rchk::snapshot {

// Contents of neighbouring pages; `address` is page-aligned and `bytes` whole pages.
struct PageRun {
  GuestAddress address;
  Bytes bytes;
  bool operator==(const PageRun&) const = default;
};

// Reads from runs that are in order of address; how many bytes it got.
size_t read_runs(const std::vector<PageRun>& runs, GuestAddress address, std::span<uint8_t> out);

// Feeds a page store with copies of pages, and remembers the latest contents of as many pages as
// fit into a budget: what changes often is kept as differences, what does not as whole pages.
class PageRecorder {
 public:
  // `keeper` outlives it.
  PageRecorder(ChunkKeeper& keeper, uint64_t budget_bytes)
      : store_(keeper), most_pages_(budget_bytes / kPageSize) {}

  uint32_t add_line() { return store_.add_line(); }
  void end_line(uint32_t line);

  // Adds a snapshot to a line: what is reset is normalized, and comes before the pages. Those are
  // read from `now`, twice; what it cannot read is left out.
  Result<SnapshotId> add(uint32_t line, const PageStore::Change& change, const ReadMemory& now);

  // Forgets what no snapshot from `first` on needs.
  void drop_before(SnapshotId first) { store_.drop_before(first); }
  PageStore& store() { return store_; }

 private:
  struct Key {
    uint32_t line;
    GuestAddress page;
    auto operator<=>(const Key&) const = default;
  };
  using Page = std::array<uint8_t, kPageSize>;
  struct Known {
    std::unique_ptr<Page> content;
    std::list<Key>::iterator use;
  };

  void remember(uint32_t line, GuestAddress address, std::span<const uint8_t> bytes);
  void forget(uint32_t line, const RangeSet& pages);
  size_t read_known(uint32_t line, GuestAddress address, std::span<uint8_t> out) const;

  PageStore store_;
  uint64_t most_pages_;
  std::map<Key, Known> known_;
  std::list<Key> uses_;  // of `known_`, latest first
};

}  // namespace rchk::snapshot
