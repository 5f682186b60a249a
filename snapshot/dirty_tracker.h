#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/types.h"
#include "snapshot/range_set.h"

namespace rchk::snapshot {

// The pages of a process that may have changed since a tracker began: always a superset of those
// that did, apart from what DirtyTracker's contract leaves to the caller.
struct DirtyPages {
  // Whole pages that are mapped now. A page of a new mapping is in it if it is in the page table;
  // the other pages of a new mapping are as the mapping made them (zeros, or the file's).
  RangeSet pages;
  // The parts of the address space that were not mapped, or mapped to something else, then.
  RangeSet new_mappings;
};

// How a dirty tracker knows.
enum class TrackerKind {
  kSoftDirty,    // bit 55 of pagemap, cleared through clear_refs
  kUserfaultfd,  // userfaultfd write-protect in async mode, with PAGEMAP_SCAN
  kExclusive,    // bit 56 of pagemap: no longer shared with the fork snapshot
  kContent,      // comparing with the fork snapshot's memory
};

std::string_view name_of(TrackerKind kind);

// Whether begin() needs a fork of the process to compare with.
bool needs_reference(TrackerKind kind);

// Says which pages of a process changed in an interval. The process is stopped during all calls.
//
// kExclusive and kContent compare with a *reference*: a fork of the process that does not run, and
// stays alive until the next begin() (a fork snapshot). What is compared is the content of the
// address space at each address, as the process sees it now and as the reference kept it, so
// unmapped, remapped and discarded memory is covered like written memory.
//
// kSoftDirty and kUserfaultfd need none: the kernel marks in the page table what is written since
// begin(). Pages that are not in the page table carry no mark, and are left out: discarded (by
// madvise, or a break that shrank and grew), unmapped or never touched, they are as their mapping
// made them, and the caller knows the ranges from the system calls. Of ranges that
// contents_changed() named, all pages in the page table count. A page that is first read in the
// interval may count; reading it again makes nothing dirty.
//
// Duties of the caller (docs/notes/dirty-trackers.md says why):
//
// - contents_changed() for what system calls did other than by writing: the target of mremap and
//   remap_file_pages, ranges of madvise that discards, what mmap placed over older mappings. For
//   kSoftDirty everything that is mapped or grows (mmap, brk, mremap), right after the call.
//   kExclusive and kContent, on kernels that can say which pages are zero (PAGEMAP_SCAN), need it
//   for mremap only.
// - about_to_fork() before the process is forked for another reason than a new reference: by the
//   guest (fork, or clone without CLONE_VM), or for a checkpoint.
// - about_to_remap() and about_to_protect() before such calls, private_memory_mapped() after.
// - The guest does not use MADV_FREE, which lets the kernel discard pages when it likes.
// - Changes of a file under an unwritten private mapping, or under a shared mapping that nobody
//   can write through in this process, are not seen: they belong to the events that made them.
//
// Shared mappings that are or were writable count wholly: others may write to the same memory.
//
// `pid` may be the id of any thread of the process, which has to live as long as the tracker is
// used. After execve a new tracker is needed.
class DirtyTracker {
 public:
  virtual ~DirtyTracker() = default;
  DirtyTracker() = default;
  DirtyTracker(const DirtyTracker&) = delete;
  DirtyTracker& operator=(const DirtyTracker&) = delete;

  virtual TrackerKind kind() const = 0;

  // Begins an interval. `reference` was forked from the process just now; kinds that need none
  // ignore it (-1). kMachine when the guest has a userfaultfd of its own (kUserfaultfd only):
  // another tracker has to be used.
  virtual Result<void> begin(int reference) = 0;

  // What may have changed since begin(). May be called again and again; sets only grow, apart
  // from what is unmapped, and, without a reference, what is discarded. kGone when the process or
  // the reference has ended. REQUIRES: begin() was called.
  virtual Result<DirtyPages> collect() = 0;

  // The contents of `range` changed, other than by writes to mapped pages.
  virtual void contents_changed(AddressRange range) = 0;

  // The process will be forked now: call before, with all its threads stopped.
  virtual Result<void> about_to_fork() = 0;

  // The process will call mremap for `range`. A tracker may have kept the kernel from joining
  // mappings that natively are one, and mremap fails with EFAULT for a range of two.
  virtual Result<void> about_to_remap(AddressRange /*range*/) { return {}; }

  // The process will change rights or other attributes of mappings in `range` (mprotect, madvise,
  // mlock, mbind, prctl with PR_SET_VMA), so that the kernel may join them with their neighbours.
  virtual Result<void> about_to_protect(AddressRange /*range*/) { return {}; }

  // The process mapped private memory at `range` (mmap, brk) and has not run since. Optional: it
  // lets mappings be joined as they natively are.
  virtual void private_memory_mapped(AddressRange /*range*/) {}
};

// REQUIRES: the kind is not kUserfaultfd.
std::unique_ptr<DirtyTracker> make_tracker(TrackerKind kind, int pid);

// The kUserfaultfd tracker. `userfaultfd` was made by the process itself, with O_CLOEXEC and
// UFFD_USER_MODE_ONLY (so that no privilege is needed), and is not initialised by UFFDIO_API. The
// process should not keep it open: a fork of it would. kMachine when the kernel lacks the async
// mode or PAGEMAP_SCAN (both Linux 6.7).
Result<std::unique_ptr<DirtyTracker>> make_userfaultfd_tracker(int pid, FileDescriptor userfaultfd);

}  // namespace rchk::snapshot
