#include <algorithm>
#include <cerrno>

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include "snapshot/mark_tracker.h"

namespace rchk::snapshot {
namespace {

// Newer than the kernel headers that rchk builds with (include/uapi/linux/userfaultfd.h, 6.7).
// It brings UFFD_FEATURE_WP_UNPOPULATED with it (userfaultfd_api, fs/userfaultfd.c).
constexpr uint64_t kFeatureWpAsync = 1 << 15;

int register_range(int file, AddressRange range) {
  uffdio_register area = {};
  area.range = {range.begin.value, range.size()};
  area.mode = UFFDIO_REGISTER_MODE_WP;
  return ioctl(file, UFFDIO_REGISTER, &area) == 0 ? 0 : errno;
}

// Runs of mappings with nothing between them that cannot or need not be registered. Shared ones
// need not: they count wholly.
std::vector<std::vector<AddressRange>> runs_of_private(const std::vector<ProcMapsEntry>& maps) {
  std::vector<std::vector<AddressRange>> runs(1);
  for (const ProcMapsEntry& entry : maps) {
    const bool wanted = !entry.shared && !belongs_to_kernel(entry);
    if (wanted) {
      runs.back().push_back(entry.range);
    } else if (!runs.back().empty()) {
      runs.emplace_back();
    }
  }
  if (runs.back().empty()) runs.pop_back();
  return runs;
}

}  // namespace

Result<std::unique_ptr<DirtyTracker>> UserfaultfdTracker::make(int pid,
                                                               FileDescriptor userfaultfd) {
  uffdio_api api = {};
  api.api = UFFD_API;
  api.features = kFeatureWpAsync;
  if (ioctl(userfaultfd.get(), UFFDIO_API, &api) != 0) {
    return fail(ErrorKind::kMachine,
                fmt::format("userfaultfd does not write-protect in async mode here (Linux 6.7): {}",
                            std::generic_category().message(errno)));
  }
  RCHK_TRY_ASSIGN(const Pagemap pages, Pagemap::open(pid));
  if (!pages.can_scan()) return fail(ErrorKind::kMachine, "the kernel has no PAGEMAP_SCAN");
  return std::unique_ptr<DirtyTracker>(new UserfaultfdTracker(pid, std::move(userfaultfd)));
}

// In one call where the kernel takes all of them.
Result<void> UserfaultfdTracker::register_neighbours(const std::vector<AddressRange>& mappings) {
  const AddressRange all{mappings.front().begin, mappings.back().end};
  if (register_range(userfaultfd_.get(), all) == 0) return {};
  for (const AddressRange& mapping : mappings) {
    const int error = register_range(userfaultfd_.get(), mapping);
    // Memory that the kernel refuses to protect has all its pages marked.
    if (error == 0 || error == EPERM || error == EINVAL) continue;
    if (error == EBUSY) {
      return fail(ErrorKind::kMachine,
                  fmt::format("process {} has a userfaultfd of its own at {}: memory that one "
                              "watches can have no other",
                              pid(), mapping));
    }
    return fail_errno(fmt::format("registering {} of process {} with userfaultfd", mapping, pid()),
                      error);
  }
  return {};
}

Result<void> UserfaultfdTracker::clear_marks(const std::vector<ProcMapsEntry>& maps) {
  RCHK_TRY_ASSIGN(const Pagemap pages, Pagemap::open(pid()));
  // Only pages in the page table: protecting others would give each of them an entry
  // (UFFDIO_WRITEPROTECT does), and the page table of a large reservation is large.
  const pagemap_scan::Query protect{.flags = pagemap_scan::kProtectMatching,
                                    .all_of = pagemap_scan::kProtectable | pagemap_scan::kWritten,
                                    .any_of = pagemap_scan::kInTable};
  for (const std::vector<AddressRange>& run : runs_of_private(maps)) {
    RCHK_TRY(register_neighbours(run));
    RCHK_TRY(pages.scan({run.front().begin, run.back().end}, protect));
  }
  return {};
}

// Two scans are faster than one that returns what is neither and leaves it to be sorted out here:
// the second skips whole mappings.
Result<RangeSet> UserfaultfdTracker::marked(const Pagemap& pages, AddressRange range,
                                            bool anonymous) {
  // To tell pages of files the kernel has to look at each page, not only at the page table.
  const uint64_t file = anonymous ? 0 : pagemap_scan::kFile;
  const pagemap_scan::Query written{
      .all_of = pagemap_scan::kWritten, .any_of = pagemap_scan::kInTable, .returned = file};
  const pagemap_scan::Query unregistered{
      .without = pagemap_scan::kProtectable, .any_of = pagemap_scan::kInTable, .returned = file};
  RangeSet found;
  for (const pagemap_scan::Query& query : {written, unregistered}) {
    RCHK_TRY_ASSIGN(const std::vector<pagemap_scan::Region> regions, pages.scan(range, query));
    for (const pagemap_scan::Region& region : regions) {
      if ((region.categories & file) != 0) continue;
      found.push_back({{region.start}, {region.end}});
    }
  }
  return found;
}

Result<std::optional<RangeSet>> UserfaultfdTracker::marked_in_all(const Pagemap& pages,
                                                                  AddressRange range) {
  RCHK_TRY_ASSIGN(RangeSet found, marked(pages, range, true));
  return std::optional(normalized(std::move(found)));
}

// Registered at once, before it is touched, new memory is joined with its neighbours as it would be
// without a tracker. Later the kernel may be unable to: memory that was written in two mappings
// belongs to two anon_vmas, and stays two mappings.
void UserfaultfdTracker::private_memory_mapped(AddressRange range) {
  // What cannot be registered has all its pages marked; begin() says so if it matters.
  (void)register_range(userfaultfd_.get(), range.pages());
}

Result<void> UserfaultfdTracker::about_to_remap(AddressRange range) {
  range = range.pages();
  RCHK_TRY_ASSIGN(const std::vector<ProcMapsEntry> maps, read_proc_maps(pid()));
  const auto overlaps = [&](const ProcMapsEntry& entry) { return entry.range.overlaps(range); };
  if (std::count_if(maps.begin(), maps.end(), overlaps) < 2) return {};
  // Without registration the kernel joins what it would have joined natively, and moves several
  // mappings at once where it can do so at all (since Linux 6.17, not with userfaultfd).
  add_told(range);
  uffdio_range area = {range.begin.value, range.size()};
  if (ioctl(userfaultfd_.get(), UFFDIO_UNREGISTER, &area) == 0 || errno == EINVAL) return {};
  return fail_errno(fmt::format("taking {} of process {} from userfaultfd", range, pid()));
}

}  // namespace rchk::snapshot
