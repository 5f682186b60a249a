#include "snapshot/fork_tracker.h"
#include "snapshot/kernel_merging.h"

namespace rchk::snapshot {

bool may_differ(PageEntry now, PageEntry then, bool anonymous, bool suspicious) {
  const bool untouched_now = untouched(now, anonymous);
  if (untouched_now != untouched(then, anonymous)) return true;
  if (untouched_now) return false;
  if (now.guard() && then.guard()) return false;
  if (!now.present() || !then.present()) return true;  // swapped out, or being moved
  if (now.exclusive() || then.exclusive()) return true;
  if (now.zero() != then.zero() || now.file_or_shared() != then.file_or_shared()) return true;
  if (now.frame() != 0 && then.frame() != 0) return now.frame() != then.frame();
  return suspicious;
}

void ExclusiveTracker::prepare(const Pair& pair) {
  merging_ = may_be_merged(pair.process, pair.process_pages.can_scan());
}

Result<RangeSet> ExclusiveTracker::compare(const Pair& pair, const Part& part) {
  RangeSet pages;
  const bool suspicious = part.told || merging_;
  const auto visit = [&](AddressRange piece, std::span<const PageEntry> now,
                         std::span<const PageEntry> then) {
    for (size_t i = 0; i < now.size(); ++i) {
      if (!may_differ(now[i], then[i], part.anonymous, suspicious)) continue;
      append_in_order(pages, range_of(piece.begin + i * kPageSize, kPageSize));
    }
  };
  RCHK_TRY(visit_populated(pair.process_pages, pair.reference_pages, part.range, visit));
  return pages;
}

}  // namespace rchk::snapshot
