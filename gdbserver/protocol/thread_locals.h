#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "gdbserver/target/target.h"

namespace rchk::protocol {

// Finds thread-local variables as glibc lays them out: by the descriptors of its own structures
// that the C library has in it for debuggers (nptl_db/structs.def, symbols _thread_db_*). The
// debugger looks the symbols up.
class ThreadLocals {
 public:
  // Begins to ask anew: libraries have changed.
  void begin() { asked_ = 0; }
  // The name of the next symbol to be looked up; empty: that were all.
  std::string_view next_symbol() const;
  // The debugger's answer to it.
  void found(std::string_view name, std::optional<GuestAddress> address);

  // The address in `thread` of the variable at `offset` among those of the library that `link_map`
  // describes. kUnsupported: the program has no C library of this kind; kGone: the thread has no
  // such variables yet.
  Result<GuestAddress> address(target::Target& target, Tid thread, uint64_t offset,
                               GuestAddress link_map) const;

 private:
  enum Symbol : uint8_t { kModule, kStaticOffset, kVector, kSlots, kValue, kSymbols };
  // As glibc's DESC(): a field's size, the number of its elements and its place in the structure.
  struct Field {
    uint32_t size_bits = 0;
    uint32_t elements = 0;
    uint32_t offset_bytes = 0;
  };
  Result<Field> field(target::Target& target, Symbol symbol) const;

  std::array<std::optional<GuestAddress>, kSymbols> addresses_;
  size_t asked_ = 0;
};

}  // namespace rchk::protocol
