#include "base/registers.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <cpuid.h>
#include <fmt/format.h>

namespace rchk {

namespace {

struct NamedRegister {
  const char* name;
  uint64_t Registers::*member;
};

constexpr NamedRegister kRegisters[] = {
#define RCHK_REGISTER(name) {#name, &Registers::name},
#include "base/registers.def"
#undef RCHK_REGISTER
};

bool counts_as_state(const NamedRegister& entry) { return entry.member != &Registers::orig_rax; }

uint64_t value_of(const Registers& registers, const NamedRegister& entry) {
  const uint64_t value = registers.*entry.member;
  return entry.member == &Registers::rflags ? value & kGuestFlags : value;
}

// Where the XSAVE header and the extended components start (SDM vol. 1, 13.4.1 and 13.4.2).
constexpr size_t kLegacyBytes = 512;
constexpr size_t kHeaderBytes = 64;
// The last bytes of the legacy area belong to software; the kernel stores the layout there.
constexpr size_t kLegacySoftwareStart = 464;

uint64_t xstate_bv(const ExtendedState& state) {
  uint64_t bits = 0;
  if (state.size() >= kLegacyBytes + sizeof(bits)) {
    std::memcpy(&bits, state.data() + kLegacyBytes, sizeof(bits));
  }
  return bits;
}

// FOP, FIP and FDP: the last x87 instruction, where it was and what it accessed. Intel's processors
// store them always, AMD's with a pending exception only, so the same state may come either way.
constexpr size_t kX87PointersStart = 6, kX87InstructionPointer = 8, kX87PointersEnd = 24;

void write_initial_x87(ExtendedState& state) {
  std::fill(state.begin(), state.begin() + 24, 0);
  std::fill(state.begin() + 32, state.begin() + 160, 0);
  const uint16_t initial_control_word = 0x37f;
  std::memcpy(state.data(), &initial_control_word, sizeof(initial_control_word));
}

// The area with every component that is in its initial state written out as such.
ExtendedState normalised(ExtendedState state) {
  if (state.size() < kLegacyBytes + kHeaderBytes) return state;
  const uint64_t present = xstate_bv(state);
  std::fill(state.begin() + kX87PointersStart, state.begin() + kX87PointersEnd, 0);
  std::fill(state.begin() + kLegacySoftwareStart, state.begin() + kLegacyBytes, 0);
  if ((present & 1) == 0) write_initial_x87(state);
  if ((present & 2) == 0) std::fill(state.begin() + 160, state.begin() + 416, 0);
  for (unsigned component = 2; component < 63; ++component) {
    if ((present >> component & 1) != 0) continue;
    unsigned size = 0, offset = 0, flags = 0, unused = 0;
    if (!__get_cpuid_count(13, component, &size, &offset, &flags, &unused)) break;
    if (size == 0 || (flags & 1) != 0 || offset + size > state.size()) continue;
    std::fill(state.begin() + offset, state.begin() + offset + size, 0);
  }
  std::fill(state.begin() + kLegacyBytes, state.begin() + kLegacyBytes + kHeaderBytes, 0);
  return state;
}

}  // namespace

uint64_t Registers::*general_register(unsigned number) {
  static constexpr uint64_t Registers::*kOrder[] = {
      &Registers::rax, &Registers::rcx, &Registers::rdx, &Registers::rbx,
      &Registers::rsp, &Registers::rbp, &Registers::rsi, &Registers::rdi,
      &Registers::r8,  &Registers::r9,  &Registers::r10, &Registers::r11,
      &Registers::r12, &Registers::r13, &Registers::r14, &Registers::r15};
  return kOrder[number & 15];
}

bool same_guest_state(const Registers& a, const Registers& b) {
  return std::all_of(std::begin(kRegisters), std::end(kRegisters), [&](const NamedRegister& e) {
    return !counts_as_state(e) || value_of(a, e) == value_of(b, e);
  });
}

std::string describe_difference(const Registers& expected, const Registers& found) {
  std::string text;
  for (const NamedRegister& entry : kRegisters) {
    if (!counts_as_state(entry)) continue;
    const uint64_t want = value_of(expected, entry);
    const uint64_t have = value_of(found, entry);
    if (want == have) continue;
    text += fmt::format("{:8} expected {:#018x} found {:#018x}\n", entry.name, want, have);
  }
  return text;
}

std::string describe(const Registers& registers) {
  std::string text;
  int column = 0;
  for (const NamedRegister& entry : kRegisters) {
    text += fmt::format("{:>8} {:#018x}{}", entry.name, registers.*entry.member,
                        ++column % 4 == 0 ? "\n" : " ");
  }
  return text;
}

void set_x87_pointer(ExtendedState& state, GuestAddress pointer) {
  if (state.size() < kLegacyBytes + kHeaderBytes) return;
  uint64_t present = xstate_bv(state);
  if ((present & 1) == 0) {
    write_initial_x87(state);
    present |= 1;
    std::memcpy(state.data() + kLegacyBytes, &present, sizeof(present));
  }
  std::memcpy(state.data() + kX87InstructionPointer, &pointer.value, sizeof(pointer.value));
}

bool same_extended_state(const ExtendedState& a, const ExtendedState& b) {
  return a == b || normalised(a) == normalised(b);
}

}  // namespace rchk
