#include "engine/trace/index.h"

namespace rchk::trace {

Bytes encode_index(const std::vector<IndexEntry>& entries) {
  Bytes bytes;
  ByteWriter out(bytes);
  out.varint(entries.size());
  for (const IndexEntry& entry : entries) {
    out.varint(entry.type);
    out.varint(entry.label);
    out.varint(entry.key);
    out.varint(entry.stored_bytes);
    out.varint(entry.raw_bytes);
  }
  return bytes;
}

Result<std::vector<IndexEntry>> decode_index(ByteView bytes, const std::string& what,
                                             uint64_t base_offset) {
  ByteReader in(bytes, what, base_offset);
  std::vector<IndexEntry> entries;
  RCHK_TRY_ASSIGN(const uint64_t count, in.varint());
  if (count > in.remaining()) return in.bad(fmt::format("an index of {} chunks", count));
  uint64_t offset = kFrontBytes + sizeof(FileHeader);
  for (uint64_t i = 0; i < count; ++i) {
    IndexEntry& entry = entries.emplace_back();
    entry.offset = offset;
    RCHK_TRY_ASSIGN(const uint64_t type, in.varint());
    RCHK_TRY_ASSIGN(const uint64_t label, in.varint());
    RCHK_TRY_ASSIGN(entry.key, in.varint());
    RCHK_TRY_ASSIGN(entry.stored_bytes, in.varint());
    RCHK_TRY_ASSIGN(entry.raw_bytes, in.varint());
    const bool is_hole = type == static_cast<uint16_t>(ChunkType::kDropped) && i == 0;
    const uint64_t most = is_hole ? kMostDroppedBytes : kMaxChunkBytes;
    if (type > UINT16_MAX || label > UINT32_MAX || entry.stored_bytes > most ||
        entry.raw_bytes > most) {
      return in.bad("an index entry that no chunk can have");
    }
    entry.type = static_cast<uint16_t>(type);
    entry.label = static_cast<uint32_t>(label);
    offset = entry.end_offset();
  }
  if (!in.at_end()) return in.bad("bytes behind the index");
  return entries;
}

}  // namespace rchk::trace
