#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "snapshot/dirty_tracker.h"
#include "snapshot/fork_comparison.h"

namespace rchk::snapshot {

// What trackers have in common that need no reference: begin() clears a mark in each page table
// entry, and the kernel sets it when the page is written. Empty entries carry no mark.
class MarkTracker : public DirtyTracker {
 public:
  explicit MarkTracker(int pid) : pid_(pid) {}

  Result<void> begin(int reference) final;
  Result<DirtyPages> collect() final;
  void contents_changed(AddressRange range) final;
  // A fork copies the page table, or leaves marks out of the copy, and does not touch the original.
  Result<void> about_to_fork() final { return {}; }

 protected:
  int pid() const { return pid_; }

  // Clears the marks of all pages in private mappings.
  virtual Result<void> clear_marks(const std::vector<ProcMapsEntry>& maps) = 0;
  // Called once for each collect(), before marked().
  virtual void prepare(const Pagemap& /*pages*/) {}
  // The pages of `range`, all of it in one private mapping that was there at begin(), that are in
  // the page table with a mark and are not the mapping's own.
  virtual Result<RangeSet> marked(const Pagemap& pages, AddressRange range, bool anonymous) = 0;

  // The same of private mappings and what lies between them, with the mappings' own pages. Nothing
  // where that is not quicker than to ask for each.
  virtual Result<std::optional<RangeSet>> marked_in_all(const Pagemap& /*pages*/,
                                                        AddressRange /*range*/) {
    return std::optional<RangeSet>();
  }

  // What contents_changed() named since begin(), normalized.
  const RangeSet& told();
  void add_told(AddressRange range) {
    told_.push_back(range.pages());
    told_is_normalized_ = false;
  }

 private:
  // What marked_in_all() said of the private mappings in `range`; collect_*() get null where that
  // is nothing.
  struct Marks {
    AddressRange range;
    std::optional<RangeSet> marked;
  };
  Result<std::vector<Marks>> marks_of(const Pagemap& pages, const std::vector<Segment>& segments);
  Result<RangeSet> collect_segment(const Pagemap& pages, const Segment& segment,
                                   const RangeSet* marks);
  Result<RangeSet> collect_private(const Pagemap& pages, const Segment& segment,
                                   const RangeSet* marks);

  int pid_;
  bool began_ = false;
  bool told_is_normalized_ = true;
  std::vector<ProcMapsEntry> then_;  // the mappings at begin()
  RangeSet told_;
};

// Marks are the soft-dirty bits of /proc/PID/pagemap, cleared by writing 4 to clear_refs
// (Documentation/admin-guide/mm/soft-dirty.rst). A new mapping is marked as a whole, and with it
// older neighbours that the kernel joined it with.
class SoftDirtyTracker : public MarkTracker {
 public:
  using MarkTracker::MarkTracker;
  TrackerKind kind() const override { return TrackerKind::kSoftDirty; }
  Result<void> about_to_protect(AddressRange range) override;

 private:
  Result<void> clear_marks(const std::vector<ProcMapsEntry>& maps) override;
  void prepare(const Pagemap& pages) override;
  Result<RangeSet> marked(const Pagemap& pages, AddressRange range, bool anonymous) override;
  bool marked_as_a_whole(const Pagemap& pages, AddressRange mapping);

  RangeSet unmarkable_;   // mappings whose pages may lack soft-dirty bits
  bool merging_ = false;  // the kernel may have merged written pages with equal ones
};

// Marks are page table entries that userfaultfd does not write-protect (mode WP_ASYNC: the kernel
// lifts the protection of a page by itself when it is written), as PAGEMAP_SCAN tells them.
// Memory that is not registered with the userfaultfd has all its pages marked. Owns the
// userfaultfd: closing it ends the registration of all mappings.
class UserfaultfdTracker : public MarkTracker {
 public:
  // Makes the userfaultfd ready. Errors as of make_userfaultfd_tracker().
  static Result<std::unique_ptr<DirtyTracker>> make(int pid, FileDescriptor userfaultfd);

  TrackerKind kind() const override { return TrackerKind::kUserfaultfd; }
  void private_memory_mapped(AddressRange range) override;
  Result<void> about_to_remap(AddressRange range) override;

 private:
  UserfaultfdTracker(int pid, FileDescriptor userfaultfd)
      : MarkTracker(pid), userfaultfd_(std::move(userfaultfd)) {}

  Result<void> clear_marks(const std::vector<ProcMapsEntry>& maps) override;
  Result<RangeSet> marked(const Pagemap& pages, AddressRange range, bool anonymous) override;
  Result<std::optional<RangeSet>> marked_in_all(const Pagemap& pages, AddressRange range) override;
  Result<void> register_neighbours(const std::vector<AddressRange>& mappings);

  FileDescriptor userfaultfd_;
};

}  // namespace rchk::snapshot
