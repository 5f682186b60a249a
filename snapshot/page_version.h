#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/types.h"

namespace rchk::snapshot {

// The content of one page at some time, and where it is kept.
struct PageVersion {
  enum class Kind : uint8_t {
    kReset,       // as its mapping began, or not mapped
    kZero,        // nothing but zeros
    kWhole,       // in its slot
    kDifference,  // its slot has the exclusive or with the page that `slot` refers to
  };
  Kind kind = Kind::kReset;
  uint8_t slot = 0;    // kWhole, kDifference: in its chunk
  uint32_t chunk = 0;  // likewise
  uint64_t xxh3 = 0;   // of the content; 0 for kReset
  bool is_kept() const { return kind == Kind::kWhole || kind == Kind::kDifference; }
  bool operator==(const PageVersion&) const = default;
};

// A page and what became of it.
struct PageChange {
  GuestAddress page;
  PageVersion version;
  bool operator==(const PageChange&) const = default;
};

// A chunk of page contents: up to kSlots pages, each with what it is a difference to, so that a
// content is found by its chunk and slot alone. docs/notes/page-store.md draws the layout.
class PageChunk {
 public:
  static constexpr uint32_t kSlots = 16;
  // No content is a difference to a difference to ... more often.
  static constexpr uint32_t kMostDifferences = 15;

  struct Base {
    uint32_t chunk = 0;
    uint8_t slot = 0;
    uint8_t is_difference = 0;  // 0: the slot has the whole page, and the other fields say nothing
    uint8_t reserved[2] = {};
  };
  static_assert(sizeof(Base) == 8);
  static constexpr size_t kHeadBytes = kSlots * sizeof(Base);
  static constexpr size_t kFullBytes = kHeadBytes + kSlots * kPageSize;

  bool is_empty() const { return slots() == 0; }
  bool is_full() const { return slots() == kSlots; }
  uint32_t slots() const {
    return bytes_.empty() ? 0 : static_cast<uint32_t>((bytes_.size() - kHeadBytes) / kPageSize);
  }
  // Adds a page and returns its slot. REQUIRES: !is_full()
  uint8_t add(std::span<const uint8_t, kPageSize> content, const Base& base);
  const Bytes& bytes() const { return bytes_; }
  Bytes take();

  // What a chunk says of a slot, and its content. kBadTrace if it has no such slot.
  struct Slot {
    Base base;
    std::span<const uint8_t, kPageSize> content;
  };
  static Result<Slot> slot(ByteView chunk, uint32_t id, uint8_t slot);

 private:
  Bytes bytes_;
};

using LoadChunk = std::function<Result<std::shared_ptr<const Bytes>>(uint32_t chunk)>;

// Reads the content of a version. kBadTrace where a chunk is damaged or the checksum is wrong.
// REQUIRES: it is not kReset.
Result<void> read_page(const PageVersion& version, const LoadChunk& load,
                       std::span<uint8_t, kPageSize> out);

// Reads the contents of many pages: loads every chunk once for each kPagesAtOnce of them. `take`
// gets each page that is not kReset, in no particular order.
using TakePage = std::function<Result<void>(GuestAddress, std::span<const uint8_t, kPageSize>)>;
Result<void> read_pages(const std::vector<PageChange>& pages, const LoadChunk& load,
                        const TakePage& take);

bool is_zero(std::span<const uint8_t> page);
// Whether a page holds what a version says. REQUIRES: it is not kReset.
bool holds(std::span<const uint8_t> page, const PageVersion& version);
uint64_t checksum_of_page(std::span<const uint8_t> page);

}  // namespace rchk::snapshot
