#include "gdbserver/protocol/register_map.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include <fmt/format.h>

#include "base/check.h"
#include "gdbserver/protocol/hex.h"

namespace rchk::protocol {
namespace {

using target::XsaveComponent;

// Offsets into the legacy area, as FXSAVE lays it out in 64-bit mode (SDM vol. 1, table 10-2).
constexpr uint32_t kControlWord = 0, kStatusWord = 2, kShortTag = 4, kOpcode = 6;
constexpr uint32_t kInstructionOffset = 8, kInstructionSelector = 12;
constexpr uint32_t kOperandOffset = 16, kOperandSelector = 20;
constexpr uint32_t kMxcsr = 24, kX87Registers = 32, kXmmRegisters = 160;
// XSTATE_BV, at the start of the XSAVE header: which components are not in their initial state.
constexpr uint32_t kXstateBv = 512;
constexpr uint32_t kHeaderEnd = 576;

constexpr uint16_t kInitialControlWord = 0x37f;
constexpr uint32_t kInitialMxcsr = 0x1f80;

// The general registers in gdb's order, before and after those of x87 and SSE.
struct GeneralRegister {
  const char* name;
  size_t offset;
  uint32_t size_bytes;
  const char* type;
  int dwarf_number;
  const char* generic;
};
constexpr GeneralRegister kCoreRegisters[] = {
    {"rax", offsetof(Registers, rax), 8, "int64", 0, ""},
    {"rbx", offsetof(Registers, rbx), 8, "int64", 3, ""},
    {"rcx", offsetof(Registers, rcx), 8, "int64", 2, "arg4"},
    {"rdx", offsetof(Registers, rdx), 8, "int64", 1, "arg3"},
    {"rsi", offsetof(Registers, rsi), 8, "int64", 4, "arg2"},
    {"rdi", offsetof(Registers, rdi), 8, "int64", 5, "arg1"},
    {"rbp", offsetof(Registers, rbp), 8, "data_ptr", 6, "fp"},
    {"rsp", offsetof(Registers, rsp), 8, "data_ptr", 7, "sp"},
    {"r8", offsetof(Registers, r8), 8, "int64", 8, "arg5"},
    {"r9", offsetof(Registers, r9), 8, "int64", 9, "arg6"},
    {"r10", offsetof(Registers, r10), 8, "int64", 10, ""},
    {"r11", offsetof(Registers, r11), 8, "int64", 11, ""},
    {"r12", offsetof(Registers, r12), 8, "int64", 12, ""},
    {"r13", offsetof(Registers, r13), 8, "int64", 13, ""},
    {"r14", offsetof(Registers, r14), 8, "int64", 14, ""},
    {"r15", offsetof(Registers, r15), 8, "int64", 15, ""},
    {"rip", offsetof(Registers, rip), 8, "code_ptr", 16, "pc"},
    {"eflags", offsetof(Registers, rflags), 4, "i386_eflags", 49, "flags"},
    {"cs", offsetof(Registers, cs), 4, "int32", 51, ""},
    {"ss", offsetof(Registers, ss), 4, "int32", 52, ""},
    {"ds", offsetof(Registers, ds), 4, "int32", 53, ""},
    {"es", offsetof(Registers, es), 4, "int32", 50, ""},
    {"fs", offsetof(Registers, fs), 4, "int32", 54, ""},
    {"gs", offsetof(Registers, gs), 4, "int32", 55, ""},
};
constexpr GeneralRegister kSystemRegisters[] = {
    {"orig_rax", offsetof(Registers, orig_rax), 8, "int", -1, ""},
    {"fs_base", offsetof(Registers, fs_base), 8, "int", 58, ""},
    {"gs_base", offsetof(Registers, gs_base), 8, "int", 59, ""},
};
// Behind the 24 core registers, the 16 of x87 and the 17 of SSE.
constexpr uint32_t kSystemRegistersFrom = 57;

bool is_initial(const ExtendedState& state, XsaveComponent component) {
  uint64_t present = 0;
  std::memcpy(&present, state.data() + kXstateBv, sizeof(present));
  return (present >> static_cast<unsigned>(component) & 1) == 0;
}

template <typename T>
T load(const ExtendedState& state, uint32_t offset) {
  T value;
  std::memcpy(&value, state.data() + offset, sizeof(T));
  return value;
}

template <typename T>
void store(ExtendedState& state, uint32_t offset, T value) {
  std::memcpy(state.data() + offset, &value, sizeof(T));
}

// The two-bit tags of the x87 environment, made from the contents as FNSTENV makes them: 0 valid,
// 1 zero, 2 special, 3 empty (SDM vol. 1, 8.1.7).
uint16_t full_tag_word(const ExtendedState& state) {
  const auto short_tag = load<uint8_t>(state, kShortTag);
  const unsigned top = load<uint16_t>(state, kStatusWord) >> 11 & 7;
  uint16_t word = 0;
  for (unsigned physical = 0; physical < 8; ++physical) {
    unsigned tag = 3;
    if ((short_tag >> physical & 1) != 0) {
      const uint32_t at = kX87Registers + 16 * ((physical - top) & 7);
      const auto significand = load<uint64_t>(state, at);
      const unsigned exponent = load<uint16_t>(state, at + 8) & 0x7fff;
      const bool normal = (significand >> 63) != 0;
      if (exponent == 0 && significand == 0) {
        tag = 1;
      } else {
        tag = exponent == 0 || exponent == 0x7fff || !normal ? 2 : 0;
      }
    }
    word = static_cast<uint16_t>(word | tag << (2 * physical));
  }
  return word;
}

uint8_t short_tag_of(uint16_t word) {
  uint8_t tag = 0;
  for (unsigned physical = 0; physical < 8; ++physical) {
    if ((word >> (2 * physical) & 3) != 3) tag = static_cast<uint8_t>(tag | 1 << physical);
  }
  return tag;
}

uint32_t component_size(XsaveComponent component) {
  switch (component) {
    case XsaveComponent::kX87:
    case XsaveComponent::kSse:
      return 0;  // in the legacy area, which every state has
    case XsaveComponent::kAvx:
      return 16 * 16;
    case XsaveComponent::kOpmask:
      return 8 * 8;
    case XsaveComponent::kZmmHigh:
      return 16 * 32;
    case XsaveComponent::kZmmHigh16:
      return 16 * 64;
    case XsaveComponent::kPkru:
      return 8;
  }
  return 0;
}

// Gives a component its initial values and marks it as used, before a part of it is written.
void make_present(ExtendedState& state, XsaveComponent component, uint32_t component_offset) {
  if (!is_initial(state, component)) return;
  switch (component) {
    case XsaveComponent::kX87:
      std::fill(state.begin(), state.begin() + kMxcsr, uint8_t{0});
      std::fill(state.begin() + kX87Registers, state.begin() + kXmmRegisters, uint8_t{0});
      store(state, kControlWord, kInitialControlWord);
      break;
    case XsaveComponent::kSse:
      std::fill(state.begin() + kXmmRegisters, state.begin() + kXmmRegisters + 256, uint8_t{0});
      if (load<uint32_t>(state, kMxcsr) == 0) store(state, kMxcsr, kInitialMxcsr);
      break;
    default:
      std::fill_n(state.begin() + component_offset, component_size(component), uint8_t{0});
  }
  const auto present = load<uint64_t>(state, kXstateBv);
  store(state, kXstateBv, present | uint64_t{1} << static_cast<unsigned>(component));
}

}  // namespace

RegisterMap::RegisterMap(const target::XsaveLayout& layout) : layout_(layout) {
  add_core();
  add_x87();
  add_sse();
  RCHK_CHECK(registers_.size() == kSystemRegistersFrom);
  for (const GeneralRegister& one : kSystemRegisters) {
    const bool is_segment = one.offset != offsetof(Registers, orig_rax);
    add_general(is_segment ? Feature::kSegments : Feature::kLinux, one.name, one.offset,
                one.size_bytes, one.type);
    registers_.back().dwarf_number = one.dwarf_number;
  }
  if (!layout_.has(XsaveComponent::kAvx)) return;
  const uint32_t avx = layout_.offset_of(XsaveComponent::kAvx);
  for (uint32_t i = 0; i < 16; ++i) {
    add_xsave(Feature::kAvx, fmt::format("ymm{}h", i), XsaveComponent::kAvx, avx + 16 * i, 16,
              "uint128");
  }
  if (layout_.has(XsaveComponent::kOpmask) && layout_.has(XsaveComponent::kZmmHigh) &&
      layout_.has(XsaveComponent::kZmmHigh16)) {
    add_avx512();
  }
  if (layout_.has(XsaveComponent::kPkru)) {
    add_xsave(Feature::kPkeys, "pkru", XsaveComponent::kPkru,
              layout_.offset_of(XsaveComponent::kPkru), 4, "uint32");
  }
}

void RegisterMap::add(RegisterDescription description) {
  RCHK_CHECK(description.size_bytes <= kMaxRegisterBytes);
  description.packet_offset = packet_bytes_;
  packet_bytes_ += description.size_bytes;
  registers_.push_back(std::move(description));
}

void RegisterMap::add_general(Feature feature, const char* name, size_t offset, uint32_t size_bytes,
                              const char* type) {
  RegisterDescription one;
  one.name = name;
  one.feature = feature;
  one.type = type;
  one.size_bytes = size_bytes;
  one.home_offset = static_cast<uint32_t>(offset);
  one.home_size_bytes = size_bytes;
  add(std::move(one));
}

void RegisterMap::add_xsave(Feature feature, std::string name, XsaveComponent component,
                            uint32_t offset, uint32_t size_bytes, const char* type) {
  RegisterDescription one;
  one.name = std::move(name);
  one.feature = feature;
  one.type = type;
  one.size_bytes = size_bytes;
  one.home = RegisterHome::kXsave;
  one.component = component;
  one.home_offset = offset;
  one.home_size_bytes = size_bytes;
  add(std::move(one));
}

void RegisterMap::add_core() {
  for (const GeneralRegister& one : kCoreRegisters) {
    add_general(Feature::kCore, one.name, one.offset, one.size_bytes, one.type);
    registers_.back().dwarf_number = one.dwarf_number;
    registers_.back().generic = one.generic;
  }
}

void RegisterMap::add_x87() {
  const XsaveComponent x87 = XsaveComponent::kX87;
  for (uint32_t i = 0; i < 8; ++i) {
    add_xsave(Feature::kCore, fmt::format("st{}", i), x87, kX87Registers + 16 * i, 10, "i387_ext");
    registers_.back().dwarf_number = static_cast<int>(33 + i);
  }
  struct Control {
    const char* name;
    uint32_t offset;
    uint32_t home_size_bytes;
  };
  constexpr Control kControls[] = {
      {"fctrl", kControlWord, 2},       {"fstat", kStatusWord, 2},
      {"ftag", kShortTag, 1},           {"fiseg", kInstructionSelector, 2},
      {"fioff", kInstructionOffset, 4}, {"foseg", kOperandSelector, 2},
      {"fooff", kOperandOffset, 4},     {"fop", kOpcode, 2},
  };
  for (const Control& one : kControls) {
    add_xsave(Feature::kCore, one.name, x87, one.offset, 4, "int");
    registers_.back().home_size_bytes = one.home_size_bytes;
    if (one.offset == kShortTag) registers_.back().home = RegisterHome::kX87TagWord;
  }
}

void RegisterMap::add_sse() {
  const XsaveComponent sse = XsaveComponent::kSse;
  for (uint32_t i = 0; i < 16; ++i) {
    add_xsave(Feature::kSse, fmt::format("xmm{}", i), sse, kXmmRegisters + 16 * i, 16, "vec128");
    registers_.back().dwarf_number = static_cast<int>(17 + i);
  }
  add_xsave(Feature::kSse, "mxcsr", sse, kMxcsr, 4, "i386_mxcsr");
}

void RegisterMap::add_avx512() {
  const uint32_t masks = layout_.offset_of(XsaveComponent::kOpmask);
  const uint32_t low16_high = layout_.offset_of(XsaveComponent::kZmmHigh);
  const uint32_t high16 = layout_.offset_of(XsaveComponent::kZmmHigh16);
  for (uint32_t i = 16; i < 32; ++i) {
    add_xsave(Feature::kAvx512, fmt::format("xmm{}", i), XsaveComponent::kZmmHigh16,
              high16 + 64 * (i - 16), 16, "vec128");
  }
  for (uint32_t i = 16; i < 32; ++i) {
    add_xsave(Feature::kAvx512, fmt::format("ymm{}h", i), XsaveComponent::kZmmHigh16,
              high16 + 64 * (i - 16) + 16, 16, "uint128");
  }
  for (uint32_t i = 0; i < 8; ++i) {
    add_xsave(Feature::kAvx512, fmt::format("k{}", i), XsaveComponent::kOpmask, masks + 8 * i, 8,
              "uint64");
  }
  for (uint32_t i = 0; i < 16; ++i) {
    add_xsave(Feature::kAvx512, fmt::format("zmm{}h", i), XsaveComponent::kZmmHigh,
              low16_high + 32 * i, 32, "v2ui128");
  }
  for (uint32_t i = 16; i < 32; ++i) {
    add_xsave(Feature::kAvx512, fmt::format("zmm{}h", i), XsaveComponent::kZmmHigh16,
              high16 + 64 * (i - 16) + 32, 32, "v2ui128");
  }
}

const RegisterDescription* RegisterMap::find(RegisterNumber number) const {
  return number.value < registers_.size() ? &registers_[number.value] : nullptr;
}

bool RegisterMap::read(const RegisterDescription& which, const RegisterValues& values,
                       Value& value) const {
  value.fill(0);
  if (which.home == RegisterHome::kGeneral) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&values.general);
    std::memcpy(value.data(), bytes + which.home_offset, which.home_size_bytes);
    return true;
  }
  const ExtendedState& state = values.extended;
  if (state.size() < kHeaderEnd || state.size() < which.home_offset + which.home_size_bytes) {
    return false;
  }
  const bool initial = is_initial(state, which.component);
  if (which.home == RegisterHome::kX87TagWord) {
    const uint16_t word = initial ? 0xffff : full_tag_word(state);
    std::memcpy(value.data(), &word, sizeof(word));
    return true;
  }
  std::memcpy(value.data(), state.data() + which.home_offset, which.home_size_bytes);
  if (which.home_offset == kMxcsr) {
    // MXCSR belongs to AVX as well as to SSE (SDM vol. 1, 13.5.2).
    if (initial && is_initial(state, XsaveComponent::kAvx)) {
      std::memcpy(value.data(), &kInitialMxcsr, sizeof(kInitialMxcsr));
    }
  } else if (initial) {
    value.fill(0);
    if (which.component == XsaveComponent::kX87 && which.home_offset == kControlWord) {
      std::memcpy(value.data(), &kInitialControlWord, sizeof(kInitialControlWord));
    }
  }
  return true;
}

void RegisterMap::append_value(std::string& out, const RegisterDescription& which,
                               const RegisterValues& values) const {
  Value value;
  if (read(which, values, value)) {
    append_hex(out, ByteView(value.data(), which.size_bytes));
  } else {
    out.append(2 * which.size_bytes, 'x');
  }
}

void RegisterMap::append_all(std::string& out, const RegisterValues& values) const {
  for (const RegisterDescription& one : registers_) append_value(out, one, values);
}

bool RegisterMap::write(const RegisterDescription& which, std::span<const uint8_t> bytes,
                        RegisterValues& values) const {
  if (bytes.size() != which.size_bytes) return false;
  if (which.home == RegisterHome::kGeneral) {
    auto* general = reinterpret_cast<uint8_t*>(&values.general);
    std::memcpy(general + which.home_offset, bytes.data(), which.home_size_bytes);
    return true;
  }
  ExtendedState& state = values.extended;
  if (state.size() < kHeaderEnd || state.size() < which.home_offset + which.home_size_bytes) {
    return false;
  }
  const uint32_t component_offset = layout_.offset_of(which.component);
  if (state.size() < component_offset + component_size(which.component)) return false;
  make_present(state, which.component, component_offset);
  if (which.home == RegisterHome::kX87TagWord) {
    uint16_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof(word));
    store(state, kShortTag, short_tag_of(word));
  } else {
    std::memcpy(state.data() + which.home_offset, bytes.data(), which.home_size_bytes);
  }
  return true;
}

bool RegisterMap::write_all(std::string_view digits, RegisterValues& values) const {
  if (digits.size() != 2 * size_t{packet_bytes_}) return false;
  Value before, after;
  for (const RegisterDescription& one : registers_) {
    const std::string_view field = digits.substr(2 * one.packet_offset, 2 * one.size_bytes);
    if (field.find('x') != std::string_view::npos) continue;
    const std::span<uint8_t> bytes(after.data(), one.size_bytes);
    if (!decode_hex_into(field, bytes)) return false;
    // What did not change is not written: a component in its initial state stays there.
    if (read(one, values, before) && std::equal(bytes.begin(), bytes.end(), before.begin())) {
      continue;
    }
    if (!write(one, bytes, values)) return false;
  }
  return true;
}

std::optional<uint64_t> general_register(const Registers& registers, RegisterNumber number) {
  const GeneralRegister* found = nullptr;
  if (number.value < std::size(kCoreRegisters)) {
    found = &kCoreRegisters[number.value];
  } else if (number.value >= kSystemRegistersFrom &&
             number.value < kSystemRegistersFrom + std::size(kSystemRegisters)) {
    found = &kSystemRegisters[number.value - kSystemRegistersFrom];
  } else {
    return std::nullopt;
  }
  uint64_t value = 0;
  std::memcpy(&value, reinterpret_cast<const uint8_t*>(&registers) + found->offset,
              found->size_bytes);
  return value;
}

}  // namespace rchk::protocol
