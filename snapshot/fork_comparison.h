#pragma once

#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "snapshot/address_space.h"
#include "snapshot/pagemap.h"
#include "snapshot/range_set.h"

namespace rchk::snapshot {

// What comparing a process with a fork of it, or with its own past, needs, whichever way pages are
// told apart.

// A part of the process's address space, and what the other has there.
struct Segment {
  AddressRange range;
  bool is_new = false;     // the other has nothing there, or maps something else
  bool anonymous = false;  // private, without a file: untouched pages read as zeros
  bool shared = false;
  bool shared_writable = false;  // shared, and some mapping of the same file is or was writable
  bool operator==(const Segment&) const = default;
};

// Memory that the kernel or the processor keeps, and no guest writes (vvar; the vDSO, unless it has
// been made writable).
bool belongs_to_kernel(const ProcMapsEntry& entry);

// Cuts the mappings of a process into segments. Leaves out the kernel's own.
std::vector<Segment> compare_maps(const std::vector<ProcMapsEntry>& now,
                                  const std::vector<ProcMapsEntry>& then);

// Reads the maps of both. kGone when one has ended.
Result<std::vector<Segment>> compare_maps_of(int process, int fork);

// True if a page with this entry is as its private mapping made it: never written, or thrown away.
bool untouched(PageEntry entry, bool anonymous);

// Calls `visit` with pieces of `range` that hold all pages which either page table has an entry
// for; entry i of both spans is for page i of the piece. Pieces come in order.
using VisitPair = std::function<void(AddressRange piece, std::span<const PageEntry> now,
                                     std::span<const PageEntry> then)>;
Result<void> visit_populated(const Pagemap& now, const Pagemap& then, AddressRange range,
                             const VisitPair& visit);

// The same with one page table.
using VisitEntries = std::function<void(AddressRange piece, std::span<const PageEntry> entries)>;
Result<void> visit_populated(const Pagemap& pages, AddressRange range, const VisitEntries& visit);

// The pages of a new mapping that are no longer as the mapping made them, or may not be.
Result<RangeSet> pages_in_new_mapping(const Pagemap& now, const Segment& segment);

}  // namespace rchk::snapshot
