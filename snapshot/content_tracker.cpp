#include <algorithm>
#include <cstring>

#include "snapshot/fork_tracker.h"
#include "snapshot/memory_reader.h"

namespace rchk::snapshot {
namespace {

constexpr uint64_t kPieceBytes = uint64_t{1} << 20;

// Reads pages of two processes and keeps those that differ.
class PageComparer {
 public:
  PageComparer(const MemoryReader& a, const MemoryReader& b)
      : reader_a_(a), reader_b_(b), bytes_a_(kPieceBytes), bytes_b_(kPieceBytes) {}

  // REQUIRES: ranges come in order of address.
  Result<void> add(AddressRange range) {
    for (GuestAddress at = range.begin; at < range.end; at = at + kPieceBytes) {
      RCHK_TRY(add_piece({at, std::min(at + kPieceBytes, range.end)}));
    }
    return {};
  }

  RangeSet take() { return std::move(differing_); }

 private:
  Result<void> add_piece(AddressRange piece) {
    const std::span<uint8_t> a(bytes_a_.data(), piece.size());
    const std::span<uint8_t> b(bytes_b_.data(), piece.size());
    RCHK_TRY_ASSIGN(const std::vector<GuestAddress> missing_a,
                    reader_a_.read_or_zero(piece.begin, a));
    RCHK_TRY_ASSIGN(const std::vector<GuestAddress> missing_b,
                    reader_b_.read_or_zero(piece.begin, b));
    for (uint64_t offset = 0; offset < piece.size(); offset += kPageSize) {
      const GuestAddress page = piece.begin + offset;
      // A page that only one of them can read differs, whatever it holds.
      const bool readable_a = !std::binary_search(missing_a.begin(), missing_a.end(), page);
      const bool readable_b = !std::binary_search(missing_b.begin(), missing_b.end(), page);
      const bool same = std::memcmp(a.data() + offset, b.data() + offset, kPageSize) == 0;
      if (!same || readable_a != readable_b) {
        append_in_order(differing_, range_of(page, kPageSize));
      }
    }
    return {};
  }

  const MemoryReader& reader_a_;
  const MemoryReader& reader_b_;
  std::vector<uint8_t> bytes_a_;
  std::vector<uint8_t> bytes_b_;
  RangeSet differing_;
};

}  // namespace

Result<RangeSet> ContentTracker::compare(const Pair& pair, const Part& part) {
  RangeSet candidates;
  const auto visit = [&](AddressRange piece, std::span<const PageEntry> now,
                         std::span<const PageEntry> then) {
    for (size_t i = 0; i < now.size(); ++i) {
      // Two untouched pages are equal: zeros, or the same page of the file.
      if (untouched(now[i], part.anonymous) && untouched(then[i], part.anonymous)) continue;
      append_in_order(candidates, range_of(piece.begin + i * kPageSize, kPageSize));
    }
  };
  RCHK_TRY(visit_populated(pair.process_pages, pair.reference_pages, part.range, visit));
  RCHK_TRY_ASSIGN(const MemoryReader process, MemoryReader::open(pair.process));
  RCHK_TRY_ASSIGN(const MemoryReader reference, MemoryReader::open(pair.reference));
  PageComparer comparer(process, reference);
  for (const AddressRange& range : candidates) RCHK_TRY(comparer.add(range));
  return comparer.take();
}

}  // namespace rchk::snapshot
