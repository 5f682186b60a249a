#include "engine/trace/piece_map.h"

#include <algorithm>
#include <iterator>

namespace rchk::trace {

std::vector<PieceMap::Piece> PieceMap::add(uint64_t begin, uint64_t end, uint64_t source) {
  std::vector<Piece> added;
  uint64_t at = begin;
  while (at < end) {
    if (const Piece* there = find(at); there != nullptr) {
      at = there->end;
      continue;
    }
    const auto next = pieces_.upper_bound(at);
    const uint64_t stop = next == pieces_.end() ? end : std::min(end, next->first);
    added.push_back({at, stop, source, begin});
    pieces_.emplace_hint(next, at, added.back());
    at = stop;
  }
  return added;
}

const PieceMap::Piece* PieceMap::find(uint64_t offset) const {
  const auto above = pieces_.upper_bound(offset);
  if (above == pieces_.begin()) return nullptr;
  const Piece& candidate = std::prev(above)->second;
  return offset < candidate.end ? &candidate : nullptr;
}

}  // namespace rchk::trace
