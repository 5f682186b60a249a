#include "engine/replay/stored_ahead.h"

namespace rchk::replay {

std::optional<StringStores> StringStores::of(std::span<const uint8_t> code,
                                             const Registers& registers) {
  constexpr uint64_t kDirectionFlag = 1 << 10;
  StringStores stores;
  bool repeats = false, half = false, wide = false;
  size_t at = 0;
  for (; at < code.size(); ++at) {
    if (code[at] == 0xf2 || code[at] == 0xf3) {
      repeats = true;
    } else if (code[at] == 0x66) {
      half = true;
    } else if ((code[at] & 0xf0) == 0x40) {
      wide = (code[at] & 8) != 0;
    } else {
      break;
    }
  }
  if (!repeats || at == code.size() || registers.rcx == 0) return std::nullopt;
  switch (code[at]) {
    case 0xa4:
    case 0xa5:
      stores.copies_ = true;
      break;
    case 0xaa:
    case 0xab:
      break;
    default:
      return std::nullopt;
  }
  if ((code[at] & 1) != 0) stores.step_ = wide ? 8 : half ? 2 : 4;
  stores.to_ = {registers.rdi};
  stores.distance_ = registers.rsi - registers.rdi;
  stores.value_ = registers.rax;
  const uint64_t length = registers.rcx * stores.step_;
  const bool down = (registers.rflags & kDirectionFlag) != 0;
  const GuestAddress begin{down ? registers.rdi + stores.step_ - length : registers.rdi};
  stores.range_ = range_of(begin, length);
  if (stores.range_.end < stores.range_.begin) return std::nullopt;  // around the end of memory
  return stores;
}

size_t StringStores::bytes(GuestAddress address, std::span<uint8_t> out, const Read& read) const {
  if (copies_) return read({address.value + distance_}, out);
  for (size_t i = 0; i < out.size(); ++i) {
    const uint64_t offset = address.value + i - to_.value;
    out[i] = static_cast<uint8_t>(value_ >> (8 * (offset & (step_ - 1))));
  }
  return out.size();
}

}  // namespace rchk::replay
