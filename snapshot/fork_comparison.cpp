#include "snapshot/fork_comparison.h"

#include <algorithm>
#include <set>
#include <utility>

#include <sys/mman.h>

namespace rchk::snapshot {
namespace {

using FileKey = std::pair<uint64_t, uint64_t>;  // device, inode

FileKey file_of(const ProcMapsEntry& entry) { return {entry.device, entry.inode}; }

// Access rights and names do not count: neither changes contents.
bool same_backing(const ProcMapsEntry& a, const ProcMapsEntry& b) {
  if (a.shared != b.shared || file_of(a) != file_of(b)) return false;
  if (a.inode == 0) return !a.shared;  // shared memory without an inode cannot be told apart
  return a.range.begin.value - a.offset_bytes == b.range.begin.value - b.offset_bytes;
}

void collect_writable_files(const std::vector<ProcMapsEntry>& maps, std::set<FileKey>& files) {
  for (const ProcMapsEntry& entry : maps) {
    if (entry.shared && (entry.protection & kWrite) != 0) files.insert(file_of(entry));
  }
}

constexpr uint64_t kPieceBytes = uint64_t{64} << 20;  // two times 128 KiB of page entries
constexpr uint64_t kGapBytes = 64 * kPageSize;        // cheaper to read than another call

// Joins ranges with small gaps between them, and cuts what is too large to be read at once.
RangeSet pieces_to_read(const RangeSet& populated) {
  RangeSet joined;
  for (const AddressRange& range : populated) {
    if (!joined.empty() && range.begin - joined.back().end <= kGapBytes) {
      joined.back().end = range.end;
    } else {
      joined.push_back(range);
    }
  }
  RangeSet pieces;
  for (const AddressRange& range : joined) {
    for (GuestAddress at = range.begin; at < range.end; at = at + kPieceBytes) {
      pieces.push_back({at, std::min(at + kPieceBytes, range.end)});
    }
  }
  return pieces;
}

void add_ranges(const std::vector<PopulatedRange>& populated, RangeSet& all, RangeSet& zeros) {
  for (const PopulatedRange& part : populated) {
    all.push_back(part.range);
    if (part.zero_pages) append_in_order(zeros, part.range);
  }
}

void mark_zeros(AddressRange piece, const RangeSet& zeros, std::vector<PageEntry>& entries) {
  for (const AddressRange& range : intersection({piece}, zeros)) {
    for (GuestAddress page = range.begin; page < range.end; page = page + kPageSize) {
      entries[(page - piece.begin) / kPageSize].mark_zero();
    }
  }
}

}  // namespace

bool belongs_to_kernel(const ProcMapsEntry& entry) {
  if (entry.name == "[vdso]") return (entry.protection & PROT_WRITE) == 0;
  return entry.name == "[vsyscall]" || entry.name == "[uprobes]" || entry.name.starts_with("[vvar");
}

std::vector<Segment> compare_maps(const std::vector<ProcMapsEntry>& now,
                                  const std::vector<ProcMapsEntry>& then) {
  std::set<FileKey> writable_files;
  collect_writable_files(now, writable_files);
  collect_writable_files(then, writable_files);
  std::vector<Segment> segments;
  auto old = then.begin();
  for (const ProcMapsEntry& entry : now) {
    if (belongs_to_kernel(entry)) continue;
    Segment segment{.range = entry.range,
                    .anonymous = !entry.shared && entry.inode == 0,
                    .shared = entry.shared,
                    .shared_writable = entry.shared && writable_files.contains(file_of(entry))};
    while (old != then.end() && old->range.end <= entry.range.begin) ++old;
    GuestAddress at = entry.range.begin;
    const auto emit = [&](GuestAddress end, bool is_new) {
      if (end <= at) return;
      segment.range = {at, end};
      segment.is_new = is_new;
      segments.push_back(segment);
      at = end;
    };
    for (auto cut = old; cut != then.end() && cut->range.begin < entry.range.end; ++cut) {
      emit(std::max(at, cut->range.begin), true);
      emit(std::min(entry.range.end, cut->range.end), !same_backing(entry, *cut));
    }
    emit(entry.range.end, true);
  }
  return segments;
}

Result<std::vector<Segment>> compare_maps_of(int process, int fork) {
  RCHK_TRY_ASSIGN(const std::vector<ProcMapsEntry> now, read_proc_maps(process));
  RCHK_TRY_ASSIGN(const std::vector<ProcMapsEntry> then, read_proc_maps(fork));
  // A process that has ended, but was not waited for, has empty maps.
  if (now.empty() || then.empty()) {
    return fail_errno(fmt::format("reading the maps of process {}", now.empty() ? process : fork),
                      ESRCH);
  }
  return compare_maps(now, then);
}

bool untouched(PageEntry entry, bool anonymous) {
  if (!entry.in_table()) return true;
  // In a file's mapping the page of zeros is not the file's: it stands for a private page of
  // zeros that the kernel merged away (KSM with use_zero_pages).
  if (anonymous) return entry.zero();
  return entry.present() && entry.file_or_shared();
}

Result<void> visit_populated(const Pagemap& now, const Pagemap& then, AddressRange range,
                             const VisitPair& visit) {
  RangeSet all;
  RangeSet zeros_now;
  RangeSet zeros_then;
  RCHK_TRY_ASSIGN(const std::vector<PopulatedRange> populated_now, now.populated(range));
  RCHK_TRY_ASSIGN(const std::vector<PopulatedRange> populated_then, then.populated(range));
  add_ranges(populated_now, all, zeros_now);
  add_ranges(populated_then, all, zeros_then);
  std::vector<PageEntry> entries_now;
  std::vector<PageEntry> entries_then;
  for (const AddressRange& piece : pieces_to_read(normalized(std::move(all)))) {
    RCHK_TRY(now.read(piece, entries_now));
    RCHK_TRY(then.read(piece, entries_then));
    mark_zeros(piece, zeros_now, entries_now);
    mark_zeros(piece, zeros_then, entries_then);
    visit(piece, entries_now, entries_then);
  }
  return {};
}

Result<void> visit_populated(const Pagemap& pages, AddressRange range, const VisitEntries& visit) {
  RangeSet all;
  RangeSet zeros;
  RCHK_TRY_ASSIGN(const std::vector<PopulatedRange> populated, pages.populated(range));
  add_ranges(populated, all, zeros);
  std::vector<PageEntry> entries;
  for (const AddressRange& piece : pieces_to_read(normalized(std::move(all)))) {
    RCHK_TRY(pages.read(piece, entries));
    mark_zeros(piece, zeros, entries);
    visit(piece, entries);
  }
  return {};
}

Result<RangeSet> pages_in_new_mapping(const Pagemap& now, const Segment& segment) {
  RangeSet pages;
  const auto visit = [&](AddressRange piece, std::span<const PageEntry> entries) {
    for (size_t i = 0; i < entries.size(); ++i) {
      if (!entries[i].in_table() || (segment.anonymous && entries[i].zero())) continue;
      append_in_order(pages, range_of(piece.begin + i * kPageSize, kPageSize));
    }
  };
  RCHK_TRY(visit_populated(now, segment.range, visit));
  return pages;
}

}  // namespace rchk::snapshot
