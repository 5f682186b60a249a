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
// process_vm_readv copies once and is tried first. What it cannot read (PROT_NONE mappings, or
// everything where a sandbox forbids the call) is read through /proc/PID/mem, which overrides
// protections as a debugger may. The process must be stopped for a consistent picture, and the
// caller must be its tracer or otherwise pass ptrace's access check (ptrace(2)).
//
// A descriptor of /proc/PID/mem stays with the address space that was current when it was
// opened: open a new reader after the process calls execve.
//
// Reading a page that was never touched makes the kernel fill in a page table entry (the shared
// zero page, or the page cache's), as the guest's own read would; it allocates no private page.
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
  MemoryReader(int pid, FileDescriptor memory, bool direct)
      : pid_(pid), memory_(std::move(memory)), direct_(direct) {}

  Result<uint64_t> read_direct(GuestAddress from, std::span<uint8_t> into) const;
  Result<uint64_t> read_through_file(GuestAddress from, std::span<uint8_t> into) const;

  int pid_;
  FileDescriptor memory_;
  bool direct_;  // process_vm_readv is allowed here
};

}  // namespace rchk::snapshot
