#pragma once

#include <vector>

#include "base/registers.h"
#include "engine/trace/event.h"
#include "snapshot/address_space.h"
#include "snapshot/page_store.h"
#include "snapshot/range_set.h"

namespace rchk::record {

// What an event says of the pages that make up a state.
struct StatePages {
  std::vector<trace::PageContents> contents;
  std::vector<trace::MemoryChecksum> checksums;  // of the others

  uint64_t count() const;
};

// Few pages are given in full. Of many, those are by which a replay will have to tell the state
// from others with the same registers: where the loop that the task is in is likely to store. Of
// the rest checksums will do, which tell whether it is the state, but not what to look for. What
// cannot be read is left out.
StatePages read_state_pages(const snapshot::RangeSet& pages, const Registers& registers,
                            const snapshot::AddressSpace& memory, const snapshot::ReadMemory& read);

}  // namespace rchk::record
