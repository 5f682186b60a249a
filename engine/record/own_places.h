#pragma once

#include <cstdint>
#include <optional>

#include "base/types.h"
#include "snapshot/address_space.h"
#include "snapshot/range_set.h"

// Where memory of the recorder's own is put in a guest (docs/notes/own-memory.md).
namespace rchk::record {

// Far from everything that the guest has mapped: in the middle of the largest hole, below what is
// the recorder's there. `own`: the recorder's, be it in `memory` or not. Nothing if no hole is that
// large.
std::optional<GuestAddress> remote_place(const snapshot::AddressSpace& memory,
                                         const snapshot::RangeSet& own, uint64_t bytes);

// The same for code that jumps to `code` and back, with displacements of 32 bits: where the kernel
// puts nothing, if there is much room. That is above all that lies around `code`; or below it,
// where the heap is around it, which ends at `heap_end`. Else it is in the largest hole.
std::optional<GuestAddress> place_within_reach(const snapshot::AddressSpace& memory,
                                               GuestAddress code, uint64_t bytes,
                                               GuestAddress heap_end);

}  // namespace rchk::record
