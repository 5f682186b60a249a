#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "snapshot/chunk_keeper.h"

namespace rchk::trace {

// Neighbouring chunks of pages, which are compressed as one: a chunk of the file has one or more of
// them, numbered from its key on. All but the last one are full, so its size says where each is.
class PageGroup {
 public:
  // Half a megabyte compresses to 7 % less than 64 KiB, and is as quick.
  static constexpr uint32_t kMostChunks = 8;

  bool is_empty() const { return chunks_.empty(); }
  // Whether the next chunk may be that one.
  bool takes(snapshot::ChunkId id) const;
  void add(snapshot::ChunkId id, Bytes chunk);  // REQUIRES: takes(id)
  bool is_full() const { return chunks_.size() == kMostChunks; }
  snapshot::ChunkId first() const { return first_; }
  uint32_t count() const { return static_cast<uint32_t>(chunks_.size()); }
  // Null where it is not in here.
  std::shared_ptr<const Bytes> find(snapshot::ChunkId id) const;
  // What is written of them; this one is empty then.
  Bytes take();

  // How many there are in what was written: one at least; more than kMostChunks stand for any such
  // number, and no PageGroup made them.
  static uint32_t count_in(uint64_t written_bytes);
  static std::vector<Bytes> parts(ByteView written);

 private:
  snapshot::ChunkId first_;
  std::vector<std::shared_ptr<const Bytes>> chunks_;
};

}  // namespace rchk::trace
