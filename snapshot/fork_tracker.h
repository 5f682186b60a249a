#pragma once

#include <vector>

#include "snapshot/dirty_tracker.h"
#include "snapshot/fork_comparison.h"

namespace rchk::snapshot {

// What trackers that compare a process with a fork of it have in common: all but how the pages of
// a private mapping that both have are told apart.
class ForkTracker : public DirtyTracker {
 public:
  explicit ForkTracker(int pid) : pid_(pid) {}

  Result<void> begin(int reference) override;
  Result<DirtyPages> collect() override;
  void contents_changed(AddressRange range) override;
  Result<void> about_to_fork() override;

 protected:
  // The two processes while pages are collected.
  struct Pair {
    int process;
    int reference;
    Pagemap process_pages;
    Pagemap reference_pages;
  };
  // Part of a private mapping that both have.
  struct Part {
    AddressRange range;
    bool anonymous = false;
    bool told = false;  // contents_changed() named it
  };

  // Called once for each collect(), before compare().
  virtual void prepare(const Pair& /*pair*/) {}
  // The pages of `part` that may differ.
  virtual Result<RangeSet> compare(const Pair& pair, const Part& part) = 0;
  // Whether about_to_fork() must remember what differs by then.
  virtual bool forgets_at_fork() const = 0;

 private:
  Result<RangeSet> collect_segment(const Pair& pair, const Segment& segment);
  Result<RangeSet> collect_private(const Pair& pair, const Segment& segment);

  int pid_;
  int reference_ = 0;  // 0 before begin()
  RangeSet told_;      // contents_changed(); normalized by collect()
  RangeSet carried_;   // what about_to_fork() found
};

// Tells changed pages by bit 56 of /proc/PID/pagemap, "exclusively mapped": a fork shares every
// private page between process and reference, and the first write gives the writer a copy of its
// own. Why that finds every change, and what it must be told, is in docs/notes/dirty-trackers.md.
// Reads page tables only, never memory.
class ExclusiveTracker : public ForkTracker {
 public:
  using ForkTracker::ForkTracker;
  TrackerKind kind() const override { return TrackerKind::kExclusive; }

 private:
  void prepare(const Pair& pair) override;
  Result<RangeSet> compare(const Pair& pair, const Part& part) override;
  bool forgets_at_fork() const override { return true; }

  bool merging_ = false;  // the kernel may have merged written pages with equal ones
};

// Tells changed pages by reading them in both processes. Needs nothing of the kernel but the
// right to read, finds nothing that did not change, and costs a copy of all touched memory.
class ContentTracker : public ForkTracker {
 public:
  using ForkTracker::ForkTracker;
  TrackerKind kind() const override { return TrackerKind::kContent; }

 private:
  Result<RangeSet> compare(const Pair& pair, const Part& part) override;
  bool forgets_at_fork() const override { return false; }
};

// Whether a page of a private mapping may differ between process and reference, by its entries
// alone. `suspicious`: that it is shared proves nothing.
bool may_differ(PageEntry now, PageEntry then, bool anonymous, bool suspicious);

}  // namespace rchk::snapshot
