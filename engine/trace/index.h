#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/trace/chunk.h"

namespace rchk::trace {

// Where a chunk is, and what its header says of it.
struct IndexEntry {
  uint64_t offset = 0;  // of the header in the file
  uint16_t type = 0;
  uint32_t label = 0;
  uint64_t key = 0;
  uint64_t stored_bytes = 0;
  uint64_t raw_bytes = 0;

  static IndexEntry of(const ChunkHeader& header, uint64_t offset) {
    return {offset, header.type, header.label, header.key, header.stored_bytes, header.raw_bytes};
  }
  ChunkType chunk_type() const { return static_cast<ChunkType>(type); }
  uint64_t end_offset() const { return offset + sizeof(ChunkHeader) + stored_bytes; }
  bool operator==(const IndexEntry&) const = default;
};

Bytes encode_index(const std::vector<IndexEntry>& entries);
// The entries follow one another without gaps from the file header on, or it is an error.
Result<std::vector<IndexEntry>> decode_index(ByteView bytes, const std::string& what,
                                             uint64_t base_offset);

}  // namespace rchk::trace
