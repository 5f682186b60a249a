#include <fstream>
#include <optional>
#include <string>

#include "snapshot/fork_tracker.h"

namespace rchk::snapshot {
namespace {

// A number in a file of /proc or /sys; nothing when there is no such file or it may not be read.
std::optional<uint64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  uint64_t number = 0;
  if (!(file >> number)) return std::nullopt;
  return number;
}

// Whether the kernel may have merged written pages of the process with equal ones (KSM), so that
// they are shared again (Documentation/admin-guide/mm/ksm.rst).
bool may_be_merged(int pid, bool zero_pages_known) {
  const std::string ksm = "/sys/kernel/mm/ksm/";
  if (!number_in(ksm + "run")) return false;
  if (!zero_pages_known && number_in(ksm + "use_zero_pages").value_or(0) != 0) return true;
  const auto merged = number_in(fmt::format("/proc/{}/ksm_merging_pages", pid));
  return merged.value_or(number_in(ksm + "pages_shared").value_or(0)) != 0;
}

}  // namespace

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
