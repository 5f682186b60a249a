#include "snapshot/fork_tracker.h"

#include "base/check.h"

namespace rchk::snapshot {
namespace {

void append(RangeSet& all, const RangeSet& more) {
  all.insert(all.end(), more.begin(), more.end());
}

}  // namespace

Result<void> ForkTracker::begin(int reference) {
  RCHK_TRY(Pagemap::open(reference));
  reference_ = reference;
  told_.clear();
  carried_.clear();
  return {};
}

void ForkTracker::contents_changed(AddressRange range) { told_.push_back(range.pages()); }

Result<void> ForkTracker::about_to_fork() {
  if (reference_ == 0 || !forgets_at_fork()) return {};
  RCHK_TRY_ASSIGN(DirtyPages dirty, collect());
  carried_ = std::move(dirty.pages);
  return {};
}

Result<RangeSet> ForkTracker::collect_private(const Pair& pair, const Segment& segment) {
  RangeSet pages;
  const RangeSet told = intersection({segment.range}, told_);
  for (const AddressRange& part : told) {
    // The caller knows of a file's contents what no page table and no second process shows.
    if (!segment.anonymous) {
      pages.push_back(part);
      continue;
    }
    RCHK_TRY_ASSIGN(const RangeSet found, compare(pair, {part, segment.anonymous, true}));
    append(pages, found);
  }
  for (const AddressRange& part : difference({segment.range}, told)) {
    RCHK_TRY_ASSIGN(const RangeSet found, compare(pair, {part, segment.anonymous, false}));
    append(pages, found);
  }
  return pages;
}

Result<RangeSet> ForkTracker::collect_segment(const Pair& pair, const Segment& segment) {
  if (segment.shared_writable) return RangeSet{segment.range};
  if (segment.is_new) return pages_in_new_mapping(pair.process_pages, segment);
  if (segment.shared) return intersection({segment.range}, told_);
  return collect_private(pair, segment);
}

Result<DirtyPages> ForkTracker::collect() {
  RCHK_CHECK(reference_ != 0, "collect() before begin()");
  told_ = normalized(std::move(told_));
  RCHK_TRY_ASSIGN(const std::vector<Segment> segments, compare_maps_of(pid_, reference_));
  RCHK_TRY_ASSIGN(Pagemap process_pages, Pagemap::open(pid_));
  RCHK_TRY_ASSIGN(Pagemap reference_pages, Pagemap::open(reference_));
  const Pair pair{pid_, reference_, std::move(process_pages), std::move(reference_pages)};
  prepare(pair);
  DirtyPages dirty;
  RangeSet mapped;
  for (const Segment& segment : segments) {
    append_in_order(mapped, segment.range);
    if (segment.is_new) append_in_order(dirty.new_mappings, segment.range);
    RCHK_TRY_ASSIGN(const RangeSet pages, collect_segment(pair, segment));
    append(dirty.pages, pages);
  }
  append(dirty.pages, intersection(carried_, mapped));
  dirty.pages = normalized(std::move(dirty.pages));
  return dirty;
}

}  // namespace rchk::snapshot
