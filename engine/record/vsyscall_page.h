#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <tuple>

#include "base/fd.h"
#include "snapshot/address_space.h"

namespace rchk::record {

// Whether code or data hold an address of the vsyscall page (engine/trace/vsyscall.h), as a program
// that calls it does: as a word of 8 bytes, or as what MOV stores into 8 bytes (C7 with REX.W).
// `bytes`: nothing in front of them or behind them counts.
bool holds_vsyscall_address(std::span<const uint8_t> bytes);

// Finds that in files.
class VsyscallFinder {
 public:
  // Looks at `size_bytes` bytes of `file` from `offset_bytes` on; what cannot be read holds none.
  // `id`: remembers the answer.
  bool finds(snapshot::FileId id, const FileDescriptor& file, uint64_t offset_bytes,
             uint64_t size_bytes);
  // The remembered answer, so that no file has to be opened for it.
  std::optional<bool> known(snapshot::FileId id, uint64_t offset_bytes, uint64_t size_bytes) const;

 private:
  using Part = std::tuple<snapshot::FileId, uint64_t, uint64_t>;
  std::map<Part, bool> known_;
};

}  // namespace rchk::record
