#include "snapshot/page_version.h"

#include <algorithm>
#include <cstring>
#include <queue>

#include <xxhash.h>

#include "base/check.h"

namespace rchk::snapshot {

namespace {

// 64 MiB of contents at a time.
constexpr size_t kPagesAtOnce = 16384;

void combine(std::span<uint8_t, kPageSize> page, std::span<const uint8_t, kPageSize> difference) {
  for (size_t i = 0; i < kPageSize; i += sizeof(uint64_t)) {
    uint64_t a, b;
    std::memcpy(&a, page.data() + i, sizeof(a));
    std::memcpy(&b, difference.data() + i, sizeof(b));
    a ^= b;
    std::memcpy(page.data() + i, &a, sizeof(a));
  }
}

Failure wrong_checksum(uint32_t chunk) {
  return fail(ErrorKind::kBadTrace,
              fmt::format("a page in chunk {} has another checksum than when it was kept", chunk));
}

Failure endless(uint32_t chunk) {
  return fail(ErrorKind::kBadTrace, fmt::format("a page in chunk {} has no beginning", chunk));
}

// A slot that is still to be combined into a page.
struct Wanted {
  uint32_t chunk = 0;
  uint8_t slot = 0;
  uint32_t differences = 0;  // seen so far
  size_t page = 0;           // index
  // Chunks with high numbers first: bases are in earlier ones.
  bool operator<(const Wanted& other) const { return chunk < other.chunk; }
};

// Reads the contents of some pages into one buffer.
class Reading {
 public:
  Reading(std::span<const PageChange> pages, const LoadChunk& load)
      : pages_(pages), load_(load), contents_(pages.size() * kPageSize) {}

  Result<void> run() {
    for (size_t i = 0; i < pages_.size(); ++i) {
      const PageVersion& version = pages_[i].version;
      if (version.is_kept()) wanted_.push({version.chunk, version.slot, 0, i});
    }
    while (!wanted_.empty()) RCHK_TRY(take_chunk());
    for (size_t i = 0; i < pages_.size(); ++i) {
      const PageVersion& version = pages_[i].version;
      if (version.is_kept() && checksum_of_page(content(i)) != version.xxh3) {
        return wrong_checksum(version.chunk);
      }
    }
    return {};
  }

  std::span<uint8_t, kPageSize> content(size_t index) {
    return std::span<uint8_t, kPageSize>(contents_.data() + index * kPageSize, kPageSize);
  }

 private:
  // All that is wanted of the chunk with the highest number.
  Result<void> take_chunk() {
    const uint32_t id = wanted_.top().chunk;
    RCHK_TRY_ASSIGN(const auto chunk, load_(id));
    while (!wanted_.empty() && wanted_.top().chunk == id) {
      const Wanted wanted = wanted_.top();
      wanted_.pop();
      RCHK_TRY_ASSIGN(const PageChunk::Slot slot, PageChunk::slot(*chunk, id, wanted.slot));
      combine(content(wanted.page), slot.content);
      if (slot.base.is_difference == 0) continue;
      const bool comes_before =
          slot.base.chunk < id || (slot.base.chunk == id && slot.base.slot < wanted.slot);
      if (!comes_before || wanted.differences == PageChunk::kMostDifferences) return endless(id);
      wanted_.push({slot.base.chunk, slot.base.slot, wanted.differences + 1, wanted.page});
    }
    return {};
  }

  std::span<const PageChange> pages_;
  const LoadChunk& load_;
  Bytes contents_;
  std::priority_queue<Wanted> wanted_;
};

}  // namespace

uint64_t checksum_of_page(std::span<const uint8_t> page) {
  return XXH3_64bits(page.data(), page.size());
}

bool is_zero(std::span<const uint8_t> page) {
  return page[0] == 0 && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

bool holds(std::span<const uint8_t> page, const PageVersion& version) {
  return version.kind == PageVersion::Kind::kZero ? is_zero(page)
                                                  : checksum_of_page(page) == version.xxh3;
}

uint8_t PageChunk::add(std::span<const uint8_t, kPageSize> content, const Base& base) {
  RCHK_CHECK(!is_full(), "a chunk of pages is full");
  if (bytes_.empty()) {
    bytes_.reserve(kFullBytes);
    bytes_.resize(kHeadBytes);
  }
  const auto slot = static_cast<uint8_t>(slots());
  std::memcpy(bytes_.data() + slot * sizeof(Base), &base, sizeof(Base));
  bytes_.insert(bytes_.end(), content.begin(), content.end());
  return slot;
}

Bytes PageChunk::take() {
  Bytes taken;
  taken.swap(bytes_);
  return taken;
}

Result<PageChunk::Slot> PageChunk::slot(ByteView chunk, uint32_t id, uint8_t slot) {
  const size_t offset = kHeadBytes + slot * kPageSize;
  if (slot >= kSlots || offset + kPageSize > chunk.size()) {
    return fail(ErrorKind::kBadTrace, fmt::format("chunk {} of pages has no slot {}", id, slot));
  }
  Base base;
  std::memcpy(&base, chunk.data() + slot * sizeof(Base), sizeof(Base));
  return Slot{base, std::span<const uint8_t, kPageSize>(chunk.data() + offset, kPageSize)};
}

Result<void> read_page(const PageVersion& version, const LoadChunk& load,
                       std::span<uint8_t, kPageSize> out) {
  std::memset(out.data(), 0, out.size());
  if (version.kind == PageVersion::Kind::kZero) return {};
  const PageChange one{{}, version};
  Reading reading({&one, 1}, load);
  RCHK_TRY(reading.run());
  std::memcpy(out.data(), reading.content(0).data(), out.size());
  return {};
}

Result<void> read_pages(const std::vector<PageChange>& pages, const LoadChunk& load,
                        const TakePage& take) {
  for (size_t begin = 0; begin < pages.size(); begin += kPagesAtOnce) {
    const size_t count = std::min(kPagesAtOnce, pages.size() - begin);
    const std::span<const PageChange> part(pages.data() + begin, count);
    Reading reading(part, load);
    RCHK_TRY(reading.run());
    for (size_t i = 0; i < count; ++i) {
      if (part[i].version.kind == PageVersion::Kind::kReset) continue;
      RCHK_TRY(take(part[i].page, reading.content(i)));
    }
  }
  return {};
}

}  // namespace rchk::snapshot
