#include <algorithm>

#include <fcntl.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "snapshot/kernel_merging.h"
#include "snapshot/mark_tracker.h"

namespace rchk::snapshot {
namespace {

constexpr uint64_t kHugePageBytes = uint64_t{2} << 20;

// hugetlbfs pages have no soft-dirty bit: clear_refs leaves them alone, and pagemap shows their
// mapping's only (clear_refs_walk_ops and pagemap_hugetlb_range, fs/proc/task_mmu.c, Linux 6.1).
// Nothing in maps names such mappings; their borders lie at huge pages, which others' do by chance.
bool may_be_huge(const ProcMapsEntry& entry) {
  return entry.inode != 0 && entry.range.begin.value % kHugePageBytes == 0 &&
         entry.range.end.value % kHugePageBytes == 0;
}

bool has_mark(const Pagemap& pages, GuestAddress page) {
  std::vector<PageEntry> entries;
  return pages.read(range_of(page, kPageSize), entries) && entries[0].soft_dirty();
}

}  // namespace

Result<void> SoftDirtyTracker::clear_marks(const std::vector<ProcMapsEntry>& maps) {
  const std::string path = fmt::format("/proc/{}/clear_refs", pid());
  const FileDescriptor file(open_descriptor(path.c_str(), O_WRONLY));
  if (!file.is_open()) {
    return fail_errno(fmt::format("opening {}", path), errno == ENOENT ? ESRCH : errno);
  }
  if (write(file.get(), "4", 1) != 1) return fail_errno(fmt::format("writing 4 to {}", path));
  unmarkable_.clear();
  for (const ProcMapsEntry& entry : maps) {
    if (may_be_huge(entry)) append_in_order(unmarkable_, entry.range);
  }
  return {};
}

void SoftDirtyTracker::prepare(const Pagemap& pages) {
  merging_ = may_be_merged(pid(), pages.can_scan());
}

Result<RangeSet> SoftDirtyTracker::marked(const Pagemap& pages, AddressRange range,
                                          bool anonymous) {
  RangeSet found;
  const bool all_marked = merging_ || contains(unmarkable_, range.begin);
  const auto visit = [&](AddressRange piece, std::span<const PageEntry> entries) {
    for (size_t i = 0; i < entries.size(); ++i) {
      const PageEntry entry = entries[i];
      if (!entry.in_table() || (!anonymous && untouched(entry, false))) continue;
      // A page of zeros may stand for a part of a huge page that was written and then held zeros
      // only, when the huge page was split: Linux 6.12 to 6.17 lost the mark then.
      if (!all_marked && !entry.soft_dirty() && !entry.zero()) continue;
      append_in_order(found, range_of(piece.begin + i * kPageSize, kPageSize));
    }
  };
  RCHK_TRY(visit_populated(pages, range, visit));
  return found;
}

bool SoftDirtyTracker::marked_as_a_whole(const Pagemap& pages, AddressRange mapping) {
  return !intersection({mapping}, told()).empty() && has_mark(pages, mapping.begin);
}

// A new mapping is marked as a whole (VM_SOFTDIRTY), which does not keep the kernel from joining it
// with neighbours. While the result is marked, mprotect makes pages of it writable without marking
// them (can_change_pte_writable, mm/mprotect.c, since Linux 6.0). When attributes of a neighbour
// change so that it is joined too, the result has the neighbour's mark, or none (mprotect_fixup;
// VM_STICKY mends it in 6.19), and what was written is lost. So all that takes part counts as told.
Result<void> SoftDirtyTracker::about_to_protect(AddressRange range) {
  if (told().empty()) return {};
  range = range.pages();
  RCHK_TRY_ASSIGN(const Pagemap pages, Pagemap::open(pid()));
  RCHK_TRY_ASSIGN(const std::vector<ProcMapsEntry> maps, read_proc_maps(pid()));
  RangeSet touching;
  bool marked = false;
  for (const ProcMapsEntry& entry : maps) {
    if (entry.range.end < range.begin || range.end < entry.range.begin) continue;
    touching.push_back(entry.range);
    marked = marked || marked_as_a_whole(pages, entry.range);
  }
  if (!marked) return {};
  for (const AddressRange& mapping : touching) add_told(mapping);
  return {};
}

}  // namespace rchk::snapshot
