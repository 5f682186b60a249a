#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/types.h"
#include "snapshot/pagemap_scan.h"

namespace rchk::snapshot {

// What /proc/PID/pagemap says of one page (Documentation/admin-guide/mm/pagemap.rst).
struct PageEntry {
  uint64_t bits = 0;

  bool present() const { return bit(63); }
  bool swapped() const { return bit(62); }         // swap, migration, or a marker
  bool file_or_shared() const { return bit(61); }  // page cache: not a private copy
  bool guard() const { return bit(58); }           // MADV_GUARD_INSTALL (since 6.15)
  bool exclusive() const { return bit(56); }       // mapped by this process alone
  bool soft_dirty() const { return bit(55); }
  // The page's frame, 0 where the caller lacks CAP_SYS_ADMIN or the page is not present.
  uint64_t frame() const { return present() ? bits & ((uint64_t{1} << 55) - 1) : 0; }
  // The kernel's shared page of zeros. Only PAGEMAP_SCAN tells it; false means "not known to be".
  // Kept in bit 59, which the kernel leaves 0.
  bool zero() const { return bit(59); }
  // The page table holds something for the page.
  bool in_table() const { return present() || swapped(); }

  void mark_zero() { bits |= uint64_t{1} << 59; }
  bool operator==(const PageEntry&) const = default;

 private:
  bool bit(unsigned number) const { return (bits >> number & 1) != 0; }
};

// Part of an address space whose page table is not empty.
struct PopulatedRange {
  AddressRange range;
  bool zero_pages = false;  // all of it maps the shared page of zeros
  bool operator==(const PopulatedRange&) const = default;
};

// Reads the page table of a process. Stays with the address space that was current at open, so
// open a new one after execve. Access needs ptrace's read check, not the right to attach.
class Pagemap {
 public:
  static Result<Pagemap> open(int pid);

  // Gives one entry for each page of `range`. REQUIRES: `range` is page-aligned.
  Result<void> read(AddressRange range, std::vector<PageEntry>& entries) const;

  // The parts of `range` that have page table entries, in order. Holes are skipped at no cost
  // where the kernel has PAGEMAP_SCAN (since 6.7); elsewhere all of `range` is answered.
  Result<std::vector<PopulatedRange>> populated(AddressRange range) const;

  // The pages of `range` that PAGEMAP_SCAN finds, as regions of equal categories, in order.
  // REQUIRES: can_scan().
  Result<std::vector<pagemap_scan::Region>> scan(AddressRange range,
                                                 const pagemap_scan::Query& query) const;

  // Whether populated() skips holes and knows the page of zeros.
  bool can_scan() const { return can_scan_; }

 private:
  Pagemap(int pid, FileDescriptor file, bool can_scan)
      : pid_(pid), file_(std::move(file)), can_scan_(can_scan) {}

  int pid_;
  FileDescriptor file_;
  bool can_scan_;
};

}  // namespace rchk::snapshot
