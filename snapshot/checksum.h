#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "snapshot/address_space.h"

namespace rchk::snapshot {

// The checksum of what is readable in one aligned MiB of an address space, a run.
//
// It is XXH3-64 over a list that has, for each page that does not read as zeros throughout, in
// order of address, two little-endian words: the page's address, and XXH3-64 of its 4096 bytes.
// Pages of zeros do not count, and a run of nothing else is left out of the results. So memory
// that was never touched costs nothing to sum up, and it makes no difference whether a page of
// zeros is present, or where the borders between mappings lie.
struct RunChecksum {
  AddressRange range;
  uint64_t xxh3 = 0;
  bool operator==(const RunChecksum&) const = default;
};

inline constexpr uint64_t kChecksumRunBytes = 1 << 20;

// Sums up all readable mappings of `space` as the process `pid` has them, in order of address.
// Memory of the process outside `space` (a code cache, say) does not count.
// The process must be stopped. What cannot be read (past the end of a mapped file, not mapped
// in the process) counts as zeros. Untouched private pages are not touched. kGone when the
// process has ended. `cpus`: cores that a second thread may use; it takes half of the work.
Result<std::vector<RunChecksum>> checksum_memory(int pid, const AddressSpace& space,
                                                 std::span<const int> cpus = {});

// The first run in which the two differ, a run that one lacks included; nothing when they agree.
std::optional<AddressRange> first_difference(const std::vector<RunChecksum>& expected,
                                             const std::vector<RunChecksum>& found);

}  // namespace rchk::snapshot
