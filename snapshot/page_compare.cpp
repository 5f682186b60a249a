#include "snapshot/page_compare.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "snapshot/memory_reader.h"

namespace rchk::snapshot {
namespace {

constexpr size_t kPagesAtATime = 128;  // two buffers of 512 KiB stay in the processor's cache

bool listed(const std::vector<size_t>& indexes, size_t index) {
  return std::binary_search(indexes.begin(), indexes.end(), index);
}

}  // namespace

PageDifference describe_difference(GuestAddress page, std::span<const uint8_t> a,
                                   std::span<const uint8_t> b) {
  RCHK_CHECK(a.size() == kPageSize && b.size() == kPageSize);
  PageDifference difference;
  difference.page = page;
  for (uint64_t offset = 0; offset < kPageSize; offset += sizeof(uint64_t)) {
    WordDifference word{.address = page + offset};
    std::memcpy(&word.value_a, a.data() + offset, sizeof(uint64_t));
    std::memcpy(&word.value_b, b.data() + offset, sizeof(uint64_t));
    if (word.value_a == word.value_b) continue;
    ++difference.different_words;
    if (difference.first_words.size() < PageDifference::kWordsTold) {
      difference.first_words.push_back(word);
    }
  }
  return difference;
}

Result<std::vector<PageDifference>> compare_pages(int pid_a, int pid_b,
                                                  std::span<const GuestAddress> pages,
                                                  size_t limit) {
  RCHK_CHECK(limit > 0);
  RCHK_TRY_ASSIGN(const MemoryReader reader_a, MemoryReader::open(pid_a));
  RCHK_TRY_ASSIGN(const MemoryReader reader_b, MemoryReader::open(pid_b));
  const size_t buffer_bytes = std::min(pages.size(), kPagesAtATime) * kPageSize;
  std::vector<uint8_t> bytes_a(buffer_bytes);
  std::vector<uint8_t> bytes_b(buffer_bytes);
  std::vector<PageDifference> differences;
  for (size_t first = 0; first < pages.size(); first += kPagesAtATime) {
    const auto batch = pages.subspan(first, std::min(kPagesAtATime, pages.size() - first));
    RCHK_TRY_ASSIGN(const std::vector<size_t> missing_a, reader_a.read_pages(batch, bytes_a));
    RCHK_TRY_ASSIGN(const std::vector<size_t> missing_b, reader_b.read_pages(batch, bytes_b));
    for (size_t i = 0; i < batch.size(); ++i) {
      const std::span<const uint8_t> a(bytes_a.data() + i * kPageSize, kPageSize);
      const std::span<const uint8_t> b(bytes_b.data() + i * kPageSize, kPageSize);
      const bool readable_a = !listed(missing_a, i);
      const bool readable_b = !listed(missing_b, i);
      if (readable_a == readable_b && std::memcmp(a.data(), b.data(), kPageSize) == 0) continue;
      PageDifference difference = describe_difference(batch[i], a, b);
      difference.readable_a = readable_a;
      difference.readable_b = readable_b;
      differences.push_back(std::move(difference));
      if (differences.size() == limit) return differences;
    }
  }
  return differences;
}

}  // namespace rchk::snapshot
