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

inline constexpr uint64_t kWritten = 1 << 1;
inline constexpr uint64_t kPresent = 1 << 3;
inline constexpr uint64_t kSwapped = 1 << 4;
inline constexpr uint64_t kZeroFrame = 1 << 5;
inline constexpr unsigned long kRequest = _IOWR('f', 16, Argument);

}  // namespace rchk::snapshot::pagemap_scan
