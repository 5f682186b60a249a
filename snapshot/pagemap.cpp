#include "snapshot/pagemap.h"

#include <array>
#include <cerrno>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/check.h"
#include "base/descriptors.h"
#include "base/file_io.h"
#include "snapshot/pagemap_scan.h"

namespace rchk::snapshot {
namespace {

// A scan of nothing: kernels that know the request say 0, older ones ENOTTY.
bool scan_works(int file) {
  pagemap_scan::Argument scan = {};
  scan.size = sizeof(scan);
  scan.category_anyof_mask = pagemap_scan::kPresent;
  scan.return_mask = pagemap_scan::kPresent | pagemap_scan::kZeroFrame;
  pagemap_scan::Region region = {};
  scan.vec = reinterpret_cast<uint64_t>(&region);
  scan.vec_len = 1;
  scan.end = kPageSize;
  return ioctl(file, pagemap_scan::kRequest, &scan) >= 0;
}

void append_populated(std::vector<PopulatedRange>& ranges, PopulatedRange next) {
  if (!ranges.empty() && ranges.back().range.end == next.range.begin &&
      ranges.back().zero_pages == next.zero_pages) {
    ranges.back().range.end = next.range.end;
  } else {
    ranges.push_back(next);
  }
}

}  // namespace

Result<Pagemap> Pagemap::open(int pid) {
  const std::string path = fmt::format("/proc/{}/pagemap", pid);
  FileDescriptor file(open_descriptor(path.c_str(), O_RDONLY));
  if (!file.is_open()) {
    const int error = errno == ENOENT ? ESRCH : errno;
    return fail_errno(fmt::format("opening {}", path), error);
  }
  const bool can_scan = scan_works(file.get());
  return Pagemap(pid, std::move(file), can_scan);
}

Result<void> Pagemap::read(AddressRange range, std::vector<PageEntry>& entries) const {
  RCHK_CHECK(range == range.pages());
  const uint64_t bytes = range.size() / kPageSize * sizeof(PageEntry);
  const uint64_t offset = range.begin.value / kPageSize * sizeof(PageEntry);
  entries.resize(range.size() / kPageSize);
  const std::span<uint8_t> out(reinterpret_cast<uint8_t*>(entries.data()), bytes);
  if (read_at(file_.get(), offset, out) == bytes) return {};
  if (errno == 0) return fail_errno(fmt::format("reading the pagemap of process {}", pid_), ESRCH);
  return fail_errno(fmt::format("reading the pagemap of process {} at {}", pid_, range));
}

Result<std::vector<pagemap_scan::Region>> Pagemap::scan(AddressRange range,
                                                        const pagemap_scan::Query& query) const {
  std::vector<pagemap_scan::Region> found;
  if (range.empty()) return found;
  std::array<pagemap_scan::Region, 512> regions;
  pagemap_scan::Argument scan = {};
  scan.size = sizeof(scan);
  scan.flags = query.flags;
  scan.start = range.begin.value;
  scan.end = range.end.value;
  scan.vec = reinterpret_cast<uint64_t>(regions.data());
  scan.vec_len = regions.size();
  scan.category_inverted = query.without;
  scan.category_mask = query.all_of | query.without;
  scan.category_anyof_mask = query.any_of;
  scan.return_mask = query.returned;
  while (scan.start < scan.end) {
    const int count = ioctl(file_.get(), pagemap_scan::kRequest, &scan);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      return fail_errno(fmt::format("scanning the pagemap of process {} at {}", pid_, range));
    }
    found.insert(found.end(), regions.begin(), regions.begin() + count);
    RCHK_CHECK(scan.walk_end > scan.start, "PAGEMAP_SCAN made no progress at {:#x}", scan.start);
    scan.start = scan.walk_end;
  }
  return found;
}

Result<std::vector<PopulatedRange>> Pagemap::populated(AddressRange range) const {
  std::vector<PopulatedRange> ranges;
  if (range.empty()) return ranges;
  if (!can_scan_) {
    ranges.push_back({range, false});
    return ranges;
  }
  RCHK_TRY_ASSIGN(
      const std::vector<pagemap_scan::Region> regions,
      scan(range, {.any_of = pagemap_scan::kInTable, .returned = pagemap_scan::kZeroFrame}));
  for (const pagemap_scan::Region& region : regions) {
    const bool zero = (region.categories & pagemap_scan::kZeroFrame) != 0;
    append_populated(ranges, {{{region.start}, {region.end}}, zero});
  }
  return ranges;
}

}  // namespace rchk::snapshot
