#pragma once

#include <cstdint>

#include <linux/ioctl.h>

// The PAGEMAP_SCAN ioctl (Documentation/admin-guide/mm/pagemap.rst). Declared here because the
// kernel headers that rchk builds with (6.1) are older than the kernels it runs on (6.7 has it).
namespace rchk::snapshot::pagemap_scan {

struct Region {
  uint64_t start;
  uint64_t end;
  uint64_t categories;
};

struct Argument {
  uint64_t size;
  uint64_t flags;
  uint64_t start;
  uint64_t end;
  uint64_t walk_end;
  uint64_t vec;
  uint64_t vec_len;
  uint64_t max_pages;
  uint64_t category_inverted;
  uint64_t category_mask;
  uint64_t category_anyof_mask;
  uint64_t return_mask;
};

// Categories of a page.
inline constexpr uint64_t kProtectable =
    1 << 0;                                   // PAGE_IS_WPALLOWED: registered for async protection
inline constexpr uint64_t kWritten = 1 << 1;  // not write-protected by userfaultfd
inline constexpr uint64_t kFile = 1 << 2;     // of the page cache: not a private copy
inline constexpr uint64_t kPresent = 1 << 3;
inline constexpr uint64_t kSwapped = 1 << 4;
inline constexpr uint64_t kZeroFrame = 1 << 5;
// Either: the page table holds something for the page.
inline constexpr uint64_t kInTable = kPresent | kSwapped;

// Flags.
inline constexpr uint64_t kProtectMatching = 1 << 0;  // PM_SCAN_WP_MATCHING

inline constexpr unsigned long kRequest = _IOWR('f', 16, Argument);

// Which pages a scan finds, and what it says of each.
struct Query {
  uint64_t flags = 0;
  uint64_t without = 0;  // categories that a page must not have
  uint64_t all_of = 0;   // categories that it must have, all of them
  uint64_t any_of = 0;   // and one of these; 0 for no such condition
  uint64_t returned = 0;
};

}  // namespace rchk::snapshot::pagemap_scan
