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
// *snapshots* of a number of *lines*. A line is the life of one address space, and begins with
// nothing. The first snapshot of a memory that is a copy of another one (fork) has pages in common
// with its *kin*: those are kept once.
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
    // Lines where pages may be found that this line has nothing of, or that are reset: it may be
    // one of them. The bytes are compared: a page that equals a version of kin is that version, and
    // another one is the difference to the latest version of the first line that has one.
    std::vector<uint32_t> kin;
  };

  // Begins a line, and returns its number.
  uint32_t add_line();
  // Nothing will be added to a line any more.
  void end_line(uint32_t line);
  // Adds a snapshot to a line. `now` reads its memory, `before` that of the line's last snapshot;
  // without it, or where it reads something else than is kept, pages are kept whole. Pages that
  // `now` cannot read are left out. kMisuse if the line does not exist; kBadTrace where something
  // that is kept of its kin is damaged.
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
  // The latest snapshot of the line of `last`, up to and including that, that found the page
  // changed.
  std::optional<SnapshotId> last_change(SnapshotId last, GuestAddress page) const;

  // Hands the chunk that is not full yet to the keeper as well.
  void flush();
  // Forgets all snapshots before `first`, and all contents that no later one needs.
  void drop_before(SnapshotId first);
  // Puts the latest content of each page of some lines into new chunks, whole. Behind it and
  // drop_before() of a later snapshot, nothing that was put before is needed by them. What they
  // have in common stays so.
  Result<void> rewrite(const std::vector<uint32_t>& lines);

  // REQUIRES: it was not forgotten.
  uint32_t line_of(SnapshotId snapshot) const { return snapshot_at(snapshot).line; }
  // Those that were forgotten count.
  uint32_t snapshot_count() const {
    return first_snapshot_ + static_cast<uint32_t>(snapshots_.size());
  }
  // Versions that are kept; pages that were given to add() but had not changed; and those that
  // were found in kin.
  uint64_t version_count() const { return versions_; }
  uint64_t unchanged_count() const { return unchanged_; }
  uint64_t shared_count() const { return shared_; }

 private:
  using Kind = PageVersion::Kind;
  struct Version {
    SnapshotId snapshot;
    PageVersion page{};
    uint8_t differences = 0;  // from the last version that is no difference to this one
  };
  // Of one page, in the order of time. Those that a difference stands on are in front of it, also
  // where the line has them of its kin: then they are of one snapshot, and the last is what counts.
  using Versions = std::vector<Version>;
  struct Line {
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
  // What add() works with.
  struct Adding {
    uint32_t line = 0;
    SnapshotId id;
    const std::vector<uint32_t>& kin;
    const ReadMemory& now;
    const ReadMemory& before;
    std::vector<uint8_t> have{}, had{};  // what they read
  };
  // A page of which the line has nothing, and what of its kin it may be like.
  struct Newcomer {
    GuestAddress page;
    Page content;
    std::optional<Found> like{};
  };
  // Where slots went that were rewritten, by chunk and slot.
  using Moved = std::map<std::pair<uint32_t, uint8_t>, PageVersion>;

  std::optional<Found> find(SnapshotId snapshot, GuestAddress page) const;
  // Whether it is not as its mapping began.
  bool has(SnapshotId snapshot, GuestAddress page) const;
  std::optional<Found> find_in_kin(const Adding& adding, const Newcomer& newcomer) const;
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
  Result<void> add_range(Adding& adding, const AddressRange& range);
  void add_page(const Adding& adding, GuestAddress page, const Page& content, const Page* before);
  Result<void> add_newcomers(const Adding& adding, const std::vector<Newcomer>& newcomers);
  void add_like_kin(const Adding& adding, const Newcomer& newcomer, const Page& kin);
  static bool page_from(GuestAddress page, const std::vector<uint8_t>& run, size_t offset,
                        size_t readable, const ReadMemory& read, Page& out);
  void reset_pages(uint32_t line, SnapshotId id, const RangeSet& reset);
  Result<void> rewrite_line(Line& line, Moved& moved);
  void forget_versions(Line& line, std::optional<SnapshotId> first);
  static size_t first_needed(const Versions& versions, SnapshotId first);
  void release(const Version& version);
  void release_content(const PageVersion& page);

  ChunkKeeper& keeper_;
  uint32_t next_line_ = 0;
  std::map<uint32_t, Line> lines_;  // that are not forgotten, by number
  uint32_t first_snapshot_ = 0;     // in `snapshots_`
  std::deque<Snapshot> snapshots_;
  uint32_t first_chunk_ = 0;  // in `slots_used_`
  // By chunk: how many versions need a slot of it. Kin may have any number of one slot.
  std::deque<uint64_t> slots_used_;
  PageChunk filling_;  // the last chunk, while it is not full
  uint64_t versions_ = 0;
  uint64_t unchanged_ = 0;
  uint64_t shared_ = 0;
};

}  // namespace rchk::snapshot
