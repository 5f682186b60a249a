#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "engine/trace/chunk.h"
#include "engine/trace/codec.h"
#include "engine/trace/index.h"
#include "engine/trace/memory_copy.h"
#include "engine/trace/page_group.h"
#include "engine/trace/recently_used.h"
#include "engine/trace/snapshot.h"
#include "snapshot/chunk_keeper.h"
#include "snapshot/page_recorder.h"

namespace rchk::trace {

// Where chunks are written to.
class ChunkOutput {
 public:
  virtual ~ChunkOutput() = default;
  // Compresses and writes one. `header` says type, label and key.
  virtual Result<IndexEntry> chunk(ChunkHeader header, ByteView raw) = 0;
  // The raw bytes of one that was written.
  virtual Result<Bytes> read(const IndexEntry& entry) = 0;
};

// Turns page snapshots into chunks: the contents of pages as what changed, and of each space now
// and then a directory of all its pages, so that a reader that wants one snapshot need not read all
// those before it.
class SnapshotWriter {
 public:
  // Keeps the latest contents of pages, up to `budget_bytes`. `output` outlives it.
  SnapshotWriter(ChunkOutput& output, uint64_t budget_bytes);

  // Nothing is written of a space whose holder was lost, then and later.
  // REQUIRES: snapshots come in the order of their events.
  Result<void> add(const Snapshot& snapshot, PageDelta delta);
  // `space` begins as a copy of `parent`: pages that their first snapshots have in common are
  // written once.
  void begin_fork(uint32_t space, uint32_t parent);
  void end_space(uint32_t space);
  // Puts all pages of `processes`, which are all that there are, into chunks of their own; behind
  // it none is needed that was written before. Returns what the beginning's chunk is to say.
  Result<Beginning> begin_anew(std::vector<KeptProcess> processes);
  // The same, where what is in front of it stays: pages are where they are.
  Result<Beginning> add_beginning(std::vector<KeptProcess> processes);

 private:
  // Writes what a page store is done with, and knows where that is as long as it is needed.
  class Keeper final : public snapshot::ChunkKeeper {
   public:
    explicit Keeper(ChunkOutput& output);
    void put(snapshot::ChunkId id, Bytes chunk) override;
    Result<std::shared_ptr<const Bytes>> get(snapshot::ChunkId id) override;
    void drop(snapshot::ChunkId id) override { written_.erase(id.value); }
    uint64_t stored_bytes() const override { return 0; }
    // Writes all that was put. Returns the first error of that.
    Result<void> flush();

   private:
    struct Place {
      IndexEntry group;
      uint32_t index = 0;
    };
    void write_group();

    ChunkOutput& output_;
    std::optional<Error> failure_;
    PageGroup group_;  // not written yet
    std::unordered_map<uint32_t, Place> written_;
    RecentlyUsed<std::vector<Bytes>> recent_;
  };
  struct Line {
    uint32_t number = 0;        // in the page store
    snapshot::SnapshotId last;  // likewise
    uint64_t changes_since_directory = 0;
  };
  // Where a space came from that was forked.
  struct Descent {
    uint32_t parent = 0;
    uint32_t family = 0;  // the space that all of them come from
  };
  void copy_held(PageDelta& delta);
  Line& line_of(uint32_t space);
  uint32_t family_of(uint32_t space) const;
  std::vector<uint32_t> kin_of(uint32_t space) const;
  Result<snapshot::SnapshotId> add_pages(uint32_t space, const PageDelta& delta,
                                         std::vector<uint32_t> kin);
  Result<void> write_directory(uint32_t space, Line& line, snapshot::SnapshotId id);
  // By process.
  Result<std::vector<snapshot::SnapshotId>> add_pages_of(std::vector<KeptProcess>& processes);
  Beginning beginning_of(std::vector<KeptProcess> processes,
                         const std::vector<snapshot::SnapshotId>& ids);

  ChunkOutput& output_;
  Keeper keeper_;
  snapshot::PageRecorder pages_;
  std::shared_ptr<MemoryCopy> copy_;      // of what the last snapshot had held
  std::map<uint32_t, Line> lines_;        // by space
  std::map<uint32_t, Descent> descents_;  // by space
  std::set<uint32_t> lost_;               // spaces with a holder that was lost
  uint64_t versions_kept_ = 0;            // behind the last forgetting
  uint32_t snapshots_ = 0;                // that were written
};

}  // namespace rchk::trace
