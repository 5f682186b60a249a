#include <cstdlib>

#include "snapshot/address_space.h"

// Whatever the text, parsing it ends, and what it gives can be put into an address space.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rchk::snapshot;
  const auto entries = parse_proc_maps({reinterpret_cast<const char*>(data), size});
  if (!entries) return 0;
  AddressSpace space;
  for (const ProcMapsEntry& entry : *entries) {
    Mapping mapping;
    mapping.range = entry.range;
    mapping.protection = entry.protection;
    space.map(mapping);
    space.protect(entry.range, kRead);
  }
  rchk::GuestAddress end;
  for (const auto& [begin, mapping] : space.mappings()) {
    if (begin != mapping.range.begin || mapping.range.empty() || begin < end) std::abort();
    end = mapping.range.end;
  }
  return 0;
}
