#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/types.h"

namespace rchk::snapshot {

// Reads another process's memory in bulk. Owns a descriptor of /proc/PID/mem.
//
// Not by process_vm_readv: that pins pages, and the kernel answers the pin of a page shared with
// a fork by making a private copy of it first (gup_must_unshare in the kernel, since 5.19). So
// reading a guest or its fork snapshot that way would allocate each page it reads and destroy
// what bit 56 of pagemap tells. /proc/PID/mem takes no pin; here it reads 5 GB/s from shared
// pages, where process_vm_readv reads 1.9 and copies. It also overrides protections, as a debugger
// may, so that PROT_NONE mappings can be read.
//
// The process must be stopped for a consistent picture, and the caller must be its tracer or
// otherwise pass ptrace's access check (ptrace(2)). The descriptor stays with the address space
// that was current when it was opened: open a new reader after the process calls execve.
//
// Reading a page that was never touched makes the kernel fill in a page table entry (the shared
// page of zeros, or the page cache's), as the guest's own read would; it allocates no private page.
class MemoryReader {
 public:
  static Result<MemoryReader> open(int pid);

  int pid() const { return pid_; }

  // Reads until `into` is full or memory cannot be read, and returns the bytes read: fewer than
  // asked for when a page on the way is not mapped. kGone when the process has ended.
  Result<uint64_t> read(GuestAddress from, std::span<uint8_t> into) const;

  // Reads all of `into`, or fails and names the first address that cannot be read.
  Result<void> read_exactly(GuestAddress from, std::span<uint8_t> into) const;

  // Reads what can be read; pages that cannot be read come as zeros. Returns their addresses.
  Result<std::vector<GuestAddress>> read_or_zero(GuestAddress from, std::span<uint8_t> into) const;

  // Reads whole pages from all over, page i to `into` at i * kPageSize; pages that cannot be read
  // come as zeros. Returns the indexes of those, in order.
  // REQUIRES: `pages` are page-aligned; `into` holds a page for each.
  Result<std::vector<size_t>> read_pages(std::span<const GuestAddress> pages,
                                         std::span<uint8_t> into) const;

 private:
  MemoryReader(int pid, FileDescriptor memory) : pid_(pid), memory_(std::move(memory)) {}

  int pid_;
  FileDescriptor memory_;
};

}  // namespace rchk::snapshot
