#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/types.h"
#include "snapshot/chunk_keeper.h"
#include "snapshot/page_version.h"
#include "snapshot/range_set.h"

namespace rchk::snapshot {

// Numbers the snapshots of a page store from 0, in the order in which they were added.
struct SnapshotId {
  uint32_t value = 0;
  auto operator<=>(const SnapshotId&) const = default;
};

// Reads memory as it was at an earlier time; returns how many bytes were readable.
using ReadMemory = std::function<size_t(GuestAddress, std::span<uint8_t>)>;

// Holds the memory of processes at many times, each as what changed since the time before: the
// *snapshots* of a number of *lines*. A line is the life of one address space; it begins with
// nothing, or with a snapshot of another line (fork).
//
// What changed is kept by page, as the difference (exclusive or) to the page's version before, in
// PageChunks that a ChunkKeeper compresses. Every kMostDifferences versions a page is kept whole,
// so that any page of any snapshot is had by looking at a bounded number of chunks. Each version
// has a checksum of the page's content, which every read compares.
//
// It is an index as well: which snapshot saw a page changed is told without looking at contents.
// docs/notes/page-store.md draws the layout. Knows nothing of processes or events.
class PageStore {
 public:
  // `keeper` outlives it.
  explicit PageStore(ChunkKeeper& keeper) : keeper_(keeper) {}

  // What a snapshot has that the one before it in its line has not.
  struct Change {
    // Whole pages whose content may have changed. Those that did not are found and left out.
    RangeSet pages;
    // Pages that have again what their mapping began with, or are not mapped any more.
    RangeSet reset;
  };

  // Begins a line, and returns its number; `parent`: with what that snapshot has.
  uint32_t add_line(std::optional<SnapshotId> parent);
  // Nothing will be added to a line any more.
  void end_line(uint32_t line);
  // Adds a snapshot to a line. `now` reads its memory, `before` that of the line's last snapshot;
  // without it, or where it reads something else than is kept, pages are kept whole. Pages that
  // `now` cannot read are left out. kMisuse if the line does not exist.
  Result<SnapshotId> add(uint32_t line, const Change& change, const ReadMemory& now,
                         const ReadMemory& before);

  // The content of a page; false if it is what its mapping began with. kBadTrace where a chunk is
  // damaged or a checksum is wrong.
  Result<bool> read(SnapshotId snapshot, GuestAddress page, std::span<uint8_t, kPageSize> out);
  // All pages that read() has contents of.
  std::vector<GuestAddress> pages_of(SnapshotId snapshot) const;

  // The pages that a snapshot found changed, in no particular order, and what they were then.
  std::vector<PageChange> changed_in(SnapshotId snapshot) const;
  // All pages of a snapshot that are not as their mapping began, in order of address.
  std::vector<PageChange> versions_of(SnapshotId snapshot) const;
  // The latest snapshot of the line of `last`, or of those that it came from, up to and including
  // `last`, that found the page changed.
  std::optional<SnapshotId> last_change(SnapshotId last, GuestAddress page) const;

  // Hands the chunk that is not full yet to the keeper as well.
  void flush();
  // Forgets all snapshots before `first`, and all contents that no later one needs.
  void drop_before(SnapshotId first);
  // Puts the latest content of each page of a line into new chunks, whole. Behind it and
  // drop_before() of a later snapshot, nothing that was put before is needed. REQUIRES: the line
  // began with nothing.
  Result<void> rewrite(uint32_t line);

  // REQUIRES: it was not forgotten.
  uint32_t line_of(SnapshotId snapshot) const { return snapshot_at(snapshot).line; }
  // Those that were forgotten count.
  uint32_t snapshot_count() const {
    return first_snapshot_ + static_cast<uint32_t>(snapshots_.size());
  }
  // Versions that are kept, and pages that were given to add() but had not changed.
  uint64_t version_count() const { return versions_; }
  uint64_t unchanged_count() const { return unchanged_; }

 private:
  using Kind = PageVersion::Kind;
  struct Version {
    SnapshotId snapshot;
    PageVersion page{};
    uint8_t differences = 0;  // from the last version that is no difference to this one
  };
  using Versions = std::vector<Version>;  // of one page, in the order of time
  struct Line {
    std::optional<SnapshotId> parent;
    std::unordered_map<uint64_t, Versions> pages;  // by address
    bool ended = false;
    std::optional<SnapshotId> last;
  };
  struct Snapshot {
    uint32_t line = 0;
    std::vector<GuestAddress> changed;
  };
  using Page = std::array<uint8_t, kPageSize>;
  // Where the content of a page at some time is found: its versions, and which of them.
  struct Found {
    const Versions* versions = nullptr;
    size_t index = 0;
    const Version& version() const { return (*versions)[index]; }
  };

  std::optional<Found> find(SnapshotId snapshot, GuestAddress page) const;
  Result<std::shared_ptr<const Bytes>> chunk(uint32_t id);
  uint32_t chunk_count() const { return first_chunk_ + static_cast<uint32_t>(slots_used_.size()); }
  bool is_filling(uint32_t chunk) const {
    return !filling_.is_empty() && chunk + 1 == chunk_count();
  }
  const Snapshot& snapshot_at(SnapshotId id) const {
    return snapshots_[id.value - first_snapshot_];
  }
  Snapshot& snapshot_at(SnapshotId id) { return snapshots_[id.value - first_snapshot_]; }
  // Puts content into a slot of the chunk that is being filled.
  void place(Version& version, std::span<const uint8_t, kPageSize> content,
             const PageChunk::Base& base);
  void add_page(uint32_t line, SnapshotId id, GuestAddress page, const Page& content,
                const Page* before);
  static bool page_from(GuestAddress page, const std::vector<uint8_t>& run, size_t offset,
                        size_t readable, const ReadMemory& read, Page& out);
  void reset_pages(uint32_t line, SnapshotId id, const RangeSet& reset);
  void forget_versions(Line& line, std::optional<SnapshotId> first);
  static size_t first_needed(const Versions& versions, SnapshotId first);
  void release(const Version& version);
  void release_content(const PageVersion& page);

  ChunkKeeper& keeper_;
  uint32_t next_line_ = 0;
  std::map<uint32_t, Line> lines_;  // that are not forgotten, by number
  uint32_t first_snapshot_ = 0;     // in `snapshots_`
  std::deque<Snapshot> snapshots_;
  uint32_t first_chunk_ = 0;        // in `slots_used_`
  std::deque<uint8_t> slots_used_;  // by chunk: how many of its slots a version needs
  PageChunk filling_;               // the last chunk, while it is not full
  uint64_t versions_ = 0;
  uint64_t unchanged_ = 0;
};

}  // namespace rchk::snapshot
