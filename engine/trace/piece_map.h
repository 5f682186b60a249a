#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/trace/event.h"

namespace rchk::trace {

// More is not asked for at once by anyone but a hostile recording's mappings.
inline constexpr uint64_t kMostAssembledBytes = uint64_t{4} << 30;

// Which parts of a file are stored, and where. Pieces never overlap: what came first stays.
class PieceMap {
 public:
  // A run [begin, end) of the file that is a part of the source numbered `source`, which holds
  // the file from `source_begin` on.
  struct Piece {
    uint64_t begin = 0;
    uint64_t end = 0;
    uint64_t source = 0;
    uint64_t source_begin = 0;
  };

  // Adds the parts of [begin, end) that are not there yet, as parts of a source that begins at
  // `begin`, and returns them.
  std::vector<Piece> add(uint64_t begin, uint64_t end, uint64_t source);
  // The piece that holds `offset`, or null.
  const Piece* find(uint64_t offset) const;

 private:
  std::map<uint64_t, Piece> pieces_;  // by begin
};

// Puts `size_bytes` of a file from `offset` on together; what lies past the file's end is zero.
// `copy(piece, begin, out, count)` fetches bytes [begin, begin + count) of the file from a piece.
template <typename Copy>
Result<Bytes> assemble(const FileInfo& file, const PieceMap& pieces, uint64_t offset,
                       uint64_t size_bytes, Copy copy) {
  const auto missing = [&](uint64_t at) {
    return fail(ErrorKind::kBadTrace,
                fmt::format("the recording lacks the contents of {} at {:#x}", file.path, at));
  };
  const uint64_t stop = offset + size_bytes;
  if (stop < offset || size_bytes > kMostAssembledBytes) return missing(offset);
  Bytes bytes(size_bytes);
  for (uint64_t at = offset; at < stop;) {
    const PieceMap::Piece* piece = pieces.find(at);
    if (piece == nullptr) {
      if (at >= file.size_bytes) break;
      return missing(at);
    }
    const uint64_t count = std::min(stop, piece->end) - at;
    RCHK_TRY(copy(*piece, at, bytes.data() + (at - offset), count));
    at += count;
  }
  return bytes;
}

}  // namespace rchk::trace
