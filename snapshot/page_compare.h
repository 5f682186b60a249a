#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace rchk::snapshot {

// An aligned eight-byte word that two processes hold different values of.
struct WordDifference {
  GuestAddress address;
  uint64_t value_a = 0;
  uint64_t value_b = 0;
  bool operator==(const WordDifference&) const = default;
};

// A page that two processes hold different contents of.
struct PageDifference {
  GuestAddress page;
  bool readable_a = true;  // a page that cannot be read counts as zeros, and as different
  bool readable_b = true;  // from one that can
  uint32_t different_words = 0;
  std::vector<WordDifference> first_words;  // at most kWordsTold, in order of address
  bool operator==(const PageDifference&) const = default;

  static constexpr size_t kWordsTold = 4;
};

// Which of `pages` differ between two stopped processes, in the order of `pages`. Stops once it
// has found `limit` of them: with limit 1 it answers "are they equal?" as fast as it can.
// REQUIRES: `pages` are page-aligned; limit > 0.
Result<std::vector<PageDifference>> compare_pages(int pid_a, int pid_b,
                                                  std::span<const GuestAddress> pages,
                                                  size_t limit);

// How two images of one page differ. REQUIRES: both hold kPageSize bytes.
PageDifference describe_difference(GuestAddress page, std::span<const uint8_t> a,
                                   std::span<const uint8_t> b);

}  // namespace rchk::snapshot
