#include "snapshot/mark_tracker.h"

#include <utility>

#include "base/check.h"

namespace rchk::snapshot {
namespace {

void append(RangeSet& all, const RangeSet& more) {
  all.insert(all.end(), more.begin(), more.end());
}

// A process that has ended, but was not waited for, has empty maps.
Result<std::vector<ProcMapsEntry>> maps_of(int pid) {
  RCHK_TRY_ASSIGN(std::vector<ProcMapsEntry> maps, read_proc_maps(pid));
  if (maps.empty()) return fail_errno(fmt::format("reading the maps of process {}", pid), ESRCH);
  return maps;
}

Result<RangeSet> pages_in_table(const Pagemap& pages, AddressRange range) {
  RangeSet found;
  const auto visit = [&](AddressRange piece, std::span<const PageEntry> entries) {
    for (size_t i = 0; i < entries.size(); ++i) {
      if (entries[i].in_table())
        append_in_order(found, range_of(piece.begin + i * kPageSize, kPageSize));
    }
  };
  RCHK_TRY(visit_populated(pages, range, visit));
  return found;
}

}  // namespace

Result<void> MarkTracker::begin(int /*reference*/) {
  began_ = false;
  RCHK_TRY_ASSIGN(then_, maps_of(pid_));
  RCHK_TRY(clear_marks(then_));
  told_.clear();
  began_ = true;
  return {};
}

const RangeSet& MarkTracker::told() {
  if (!std::exchange(told_is_normalized_, true)) told_ = normalized(std::move(told_));
  return told_;
}

void MarkTracker::contents_changed(AddressRange range) { add_told(range); }

// Processes have thousands of mappings: what is asked for each takes longer than what is found.
Result<std::vector<MarkTracker::Marks>> MarkTracker::marks_of(
    const Pagemap& pages, const std::vector<Segment>& segments) {
  std::vector<Marks> all;
  bool goes_on = false;
  for (const Segment& segment : segments) {
    // The page tables of shared memory may be large.
    if (segment.shared || segment.is_new) {
      goes_on = false;
    } else if (std::exchange(goes_on, true)) {
      all.back().range.end = segment.range.end;
    } else {
      all.push_back({segment.range, {}});
    }
  }
  for (Marks& run : all) {
    RCHK_TRY_ASSIGN(run.marked, marked_in_all(pages, run.range));
  }
  return all;
}

Result<RangeSet> MarkTracker::collect_private(const Pagemap& pages, const Segment& segment,
                                              const RangeSet* marks) {
  RangeSet found;
  const RangeSet named = part_within(told(), segment.range);
  for (const AddressRange& part : named) {
    // The caller knows of a file's contents what no page table shows.
    if (!segment.anonymous) {
      found.push_back(part);
      continue;
    }
    RCHK_TRY_ASSIGN(const RangeSet in_table, pages_in_table(pages, part));
    append(found, in_table);
  }
  const RangeSet asked = marks ? part_within(*marks, segment.range) : RangeSet{segment.range};
  for (const AddressRange& part : difference(asked, named)) {
    // Only a file's pages may be the mapping's own.
    if (marks && segment.anonymous) {
      found.push_back(part);
      continue;
    }
    RCHK_TRY_ASSIGN(const RangeSet written, marked(pages, part, segment.anonymous));
    append(found, written);
  }
  return found;
}

Result<RangeSet> MarkTracker::collect_segment(const Pagemap& pages, const Segment& segment,
                                              const RangeSet* marks) {
  if (segment.shared_writable) return RangeSet{segment.range};
  if (segment.is_new) return pages_in_new_mapping(pages, segment);
  if (segment.shared) return part_within(told(), segment.range);
  return collect_private(pages, segment, marks);
}

Result<DirtyPages> MarkTracker::collect() {
  RCHK_CHECK(began_, "collect() before begin()");
  RCHK_TRY_ASSIGN(const std::vector<ProcMapsEntry> now, maps_of(pid_));
  RCHK_TRY_ASSIGN(const Pagemap pages, Pagemap::open(pid_));
  prepare(pages);
  const std::vector<Segment> segments = compare_maps(now, then_);
  RCHK_TRY_ASSIGN(const std::vector<Marks> marks, marks_of(pages, segments));
  auto run = marks.begin();
  DirtyPages dirty;
  for (const Segment& segment : segments) {
    if (segment.is_new) append_in_order(dirty.new_mappings, segment.range);
    while (run != marks.end() && run->range.end <= segment.range.begin) ++run;
    const bool is_in_run = run != marks.end() && run->range.contains(segment.range.begin);
    const RangeSet* const known = is_in_run && run->marked ? &*run->marked : nullptr;
    RCHK_TRY_ASSIGN(const RangeSet found, collect_segment(pages, segment, known));
    append(dirty.pages, found);
  }
  dirty.pages = normalized(std::move(dirty.pages));
  return dirty;
}

}  // namespace rchk::snapshot
