#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "snapshot/range_set.h"

namespace rchk::snapshot {

// The pages of a process that may differ from a reference: always a superset of those that do.
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

// Says which pages of a process changed in an interval. The process is stopped during all calls.
//
// An interval begins at a *reference*: a fork of the process that does not run, and stays alive
// until the next begin() (a fork snapshot). What is compared is the content of the address
// space at each address, as the process sees it now and as the reference kept it, so unmapped,
// remapped and discarded memory is covered like written memory, with these duties of the caller
// (docs/notes/dirty-trackers.md says why):
//
// - contents_changed() for what system calls did other than by writing: the target of mremap and
//   remap_file_pages, ranges of madvise that discards, what mmap placed over older mappings.
//   Kernels that can say which pages are zero (PAGEMAP_SCAN) need it for mremap only.
// - about_to_fork() before the process is forked for another reason than a new reference: by the
//   guest (fork, or clone without CLONE_VM), or for a checkpoint.
// - Changes of a file under an unwritten private mapping, or under a shared mapping that nobody
//   can write through in this process, are not seen: they belong to the events that made them.
//
// Shared mappings that are or were writable count wholly.
class DirtyTracker {
 public:
  virtual ~DirtyTracker() = default;
  DirtyTracker() = default;
  DirtyTracker(const DirtyTracker&) = delete;
  DirtyTracker& operator=(const DirtyTracker&) = delete;

  virtual TrackerKind kind() const = 0;

  // Begins an interval. `reference` was forked from the process just now.
  virtual Result<void> begin(int reference) = 0;

  // What may have changed since begin(). May be called again and again; sets only grow, apart
  // from what is unmapped. kGone when the process or the reference has ended.
  // REQUIRES: begin() was called.
  virtual Result<DirtyPages> collect() = 0;

  // The contents of `range` changed, other than by writes to mapped pages.
  virtual void contents_changed(AddressRange range) = 0;

  // The process will be forked now: call before, with all its threads stopped.
  virtual Result<void> about_to_fork() = 0;
};

// REQUIRES: the kind is kExclusive or kContent.
std::unique_ptr<DirtyTracker> make_tracker(TrackerKind kind, int pid);

}  // namespace rchk::snapshot
