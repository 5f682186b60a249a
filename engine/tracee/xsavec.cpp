#include "engine/tracee/xsavec.h"

#include <algorithm>
#include <cstring>

#include <cpuid.h>
#include <immintrin.h>

namespace rchk::tracee {

namespace {

// The XSAVE area (SDM vol. 1, 13.4): the legacy region, the header, and what is behind them.
//
//   0    FCW FSW FTW FOP FIP FDP      x87, and MXCSR MXCSR_MASK at 24
//   32   ST0 to ST7, 16 bytes each    x87
//   160  XMM0 to XMM15                SSE
//   512  XSTATE_BV XCOMP_BV, zeros    the header
//   576  the other components
constexpr size_t kMxcsrOffset = 24;
constexpr size_t kStackOffset = 32, kStackEnd = 160;
constexpr size_t kXmmEnd = 416;
constexpr size_t kHeaderOffset = 512, kHeaderEnd = 576;
constexpr size_t kAlignmentBytes = 64;

constexpr uint64_t kX87 = 1, kSse = 2;
constexpr unsigned kFirstExtended = 2;
constexpr uint64_t kCompacted = 1ull << 63;
constexpr uint16_t kInitialControlWord = 0x37f;
constexpr uint32_t kInitialMxcsr = 0x1f80;
constexpr uint32_t kExtendedStateLeaf = 13;

bool all_zero(const uint8_t* begin, const uint8_t* end) {
  return std::all_of(begin, end, [](uint8_t byte) { return byte == 0; });
}

uint64_t xstate_bv(const ExtendedState& state) {
  uint64_t bits = 0;
  if (state.size() >= kHeaderEnd) std::memcpy(&bits, state.data() + kHeaderOffset, sizeof(bits));
  return bits;
}

uint32_t mxcsr_of(const ExtendedState& state) {
  uint32_t value = kInitialMxcsr;
  if (state.size() >= kHeaderEnd) std::memcpy(&value, state.data() + kMxcsrOffset, sizeof(value));
  return value;
}

template <typename T>
void put(std::vector<uint8_t>& out, T value) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof(value));
}

}  // namespace

std::optional<XsavecInstruction> decode_xsavec(std::span<const uint8_t> code,
                                               const Registers& registers) {
  size_t at = 0;
  uint64_t segment_base = 0;
  bool short_address = false;
  uint8_t rex = 0;
  const auto peek = [&](size_t ahead) { return at + ahead < code.size() ? code[at + ahead] : 0; };
  for (; at < code.size(); ++at) {
    const uint8_t byte = code[at];
    if (byte == 0x64)
      segment_base = registers.fs_base;
    else if (byte == 0x65)
      segment_base = registers.gs_base;
    else if (byte == 0x67)
      short_address = true;
    else if (byte != 0x26 && byte != 0x2e && byte != 0x36 && byte != 0x3e)
      break;
  }
  if ((peek(0) & 0xf0) == 0x40) rex = code[at++];
  if (peek(0) != 0x0f || peek(1) != 0xc7) return std::nullopt;
  const uint8_t modrm = peek(2);
  const uint8_t mod = modrm >> 6;
  if ((modrm >> 3 & 7) != 4 || mod == 3) return std::nullopt;
  at += 3;
  // Addressing: SDM vol. 2A, 2.1.5 and 2.2.1.
  unsigned base = modrm & 7;
  uint64_t address = 0;
  bool has_base = true;
  bool rip_relative = false;
  if (base == 4) {
    const uint8_t sib = peek(0);
    ++at;
    base = sib & 7;
    const unsigned index = (sib >> 3 & 7u) | (rex & 2u) << 2;
    if (index != 4) address += (registers.*general_register(index)) << (sib >> 6);
    has_base = !(mod == 0 && base == 5);
  } else if (mod == 0 && base == 5) {
    has_base = false;
    rip_relative = true;
  }
  if (has_base) address += registers.*general_register(base | (rex & 1u) << 3);
  const size_t displacement_bytes = mod == 1 ? 1 : (mod == 2 || !has_base) ? 4 : 0;
  if (at + displacement_bytes > code.size()) return std::nullopt;
  if (displacement_bytes == 1) {
    address += static_cast<uint64_t>(static_cast<int8_t>(code[at]));
  } else if (displacement_bytes == 4) {
    int32_t displacement = 0;
    std::memcpy(&displacement, code.data() + at, sizeof(displacement));
    address += static_cast<uint64_t>(static_cast<int64_t>(displacement));
  }
  at += displacement_bytes;
  if (rip_relative) address += registers.rip + at;
  if (short_address) address &= 0xffffffff;
  return XsavecInstruction{{address + segment_base}, static_cast<uint8_t>(at)};
}

Xsavec Xsavec::of_this_machine() {
  Xsavec xsavec;
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr uint32_t kOsxsave = 1u << 27;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (ecx & kOsxsave) == 0) return xsavec;
  asm volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
  xsavec.xcr0_ = eax | static_cast<uint64_t>(edx) << 32;
  for (unsigned i = kFirstExtended; i < kComponents; ++i) {
    if ((xsavec.xcr0_ >> i & 1) == 0) continue;
    if (!__get_cpuid_count(kExtendedStateLeaf, i, &eax, &ebx, &ecx, &edx)) break;
    xsavec.components_[i] = {eax, ebx, (ecx & 2) != 0};
  }
  alignas(16) uint8_t legacy[512] = {};
  _fxsave(legacy);
  std::memcpy(&xsavec.mxcsr_mask_, legacy + kMxcsrOffset + 4, sizeof(xsavec.mxcsr_mask_));
  return xsavec;
}

// By value, as SDM vol. 1, 13.6 lists initial configurations. What the kernel says to be initial
// has initial values.
bool Xsavec::is_initial(unsigned component, const ExtendedState& state) const {
  if (state.size() < kHeaderEnd) return true;
  const uint8_t* data = state.data();
  const bool present = (xstate_bv(state) >> component & 1) != 0;
  if (component == 0) {
    // FOP, FIP and FDP are left out: in a replay they tell of translated code.
    uint16_t control = 0, status = 0;
    std::memcpy(&control, data, sizeof(control));
    std::memcpy(&status, data + 2, sizeof(status));
    return !present || (control == kInitialControlWord && status == 0 && data[4] == 0 &&
                        all_zero(data + kStackOffset, data + kStackEnd));
  }
  if (component == 1) {
    return mxcsr_of(state) == kInitialMxcsr &&
           (!present || all_zero(data + kStackEnd, data + kXmmEnd));
  }
  const Component& layout = components_[component];
  const size_t end = size_t{layout.standard_offset} + layout.size_bytes;
  return !present || layout.size_bytes == 0 || end > state.size() ||
         all_zero(data + layout.standard_offset, data + end);
}

std::vector<StoredBytes> Xsavec::stores(const XsavecInstruction& instruction,
                                        const Registers& registers,
                                        const ExtendedState& state) const {
  const uint64_t requested =
      xcr0_ & ((registers.rax & 0xffffffff) | (registers.rdx & 0xffffffff) << 32);
  uint64_t saved = 0;
  for (unsigned i = 0; i < kComponents; ++i) {
    if ((requested >> i & 1) != 0 && !is_initial(i, state)) saved |= 1ull << i;
  }
  std::vector<StoredBytes> stores;
  const uint8_t* data = state.data();
  const auto add = [&](size_t offset) -> std::vector<uint8_t>& {
    return stores.emplace_back(StoredBytes{instruction.area + offset, {}}).bytes;
  };
  if ((saved & kX87) != 0) {
    std::vector<uint8_t>& bytes = add(0);
    bytes.assign(data, data + 6);
    bytes.resize(kMxcsrOffset);  // FOP, FIP and FDP
    add(kStackOffset).assign(data + kStackOffset, data + kStackEnd);
  }
  if ((saved & kSse) != 0) {
    std::vector<uint8_t>& bytes = add(kMxcsrOffset);
    put(bytes, mxcsr_of(state));
    put(bytes, mxcsr_mask_);
    std::vector<uint8_t>& xmm = add(kStackEnd);
    xmm.assign(kXmmEnd - kStackEnd, 0);
    if ((xstate_bv(state) & kSse) != 0) std::copy(data + kStackEnd, data + kXmmEnd, xmm.begin());
  }
  std::vector<uint8_t>& header = add(kHeaderOffset);
  put(header, saved);
  put(header, requested | kCompacted);
  // Room is kept for a component that was requested, saved or not (SDM vol. 1, 13.4.3).
  size_t offset = kHeaderEnd;
  for (unsigned i = kFirstExtended; i < kComponents; ++i) {
    if ((requested >> i & 1) == 0) continue;
    const Component& layout = components_[i];
    if (layout.aligned) offset = (offset + kAlignmentBytes - 1) / kAlignmentBytes * kAlignmentBytes;
    if ((saved >> i & 1) != 0) {
      const uint8_t* from = data + layout.standard_offset;
      add(offset).assign(from, from + layout.size_bytes);
    }
    offset += layout.size_bytes;
  }
  return stores;
}

std::vector<size_t> find_lazy_binding_xsavec(std::span<const uint8_t> code) {
  constexpr size_t kFarthest = 128;
  constexpr size_t kMaskBytes = 7;
  std::vector<size_t> found;
  for (size_t at = 0; at + 4 <= code.size(); ++at) {
    const auto* hit =
        static_cast<const uint8_t*>(std::memchr(code.data() + at, 0xc7, code.size() - at));
    if (hit == nullptr) break;
    at = static_cast<size_t>(hit - code.data());
    if (at == 0 || at + 3 > code.size() || hit[-1] != 0x0f) continue;
    // xsavec disp8(%rsp) or disp32(%rsp).
    if ((hit[1] != 0x64 && hit[1] != 0xa4) || hit[2] != 0x24) continue;
    const size_t begin = at - 1;
    for (size_t back = kMaskBytes; back <= std::min(kFarthest, begin); ++back) {
      // mov $mask, %eax; xor %edx, %edx
      const uint8_t* mask = code.data() + begin - back;
      if (mask[0] != 0xb8 || mask[5] != 0x31 || mask[6] != 0xd2) continue;
      found.push_back(begin);
      break;
    }
  }
  return found;
}

}  // namespace rchk::tracee
