#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "base/types.h"

namespace rchk {

// A thread's general registers, laid out like the kernel's user_regs_struct so that ptrace and
// core notes take it as it is. `orig_rax` is no register of the machine: the kernel keeps the
// number of a system call in progress there, and comparisons of guest state leave it out.
struct Registers {
#define RCHK_REGISTER(name) uint64_t name = 0;
#include "base/registers.def"
#undef RCHK_REGISTER

  auto operator<=>(const Registers&) const = default;
  GuestAddress pc() const { return {rip}; }
};

// The flags that a guest's arithmetic sets and reads: CF PF AF ZF SF DF OF (SDM vol. 1, 3.4.3).
inline constexpr uint64_t kGuestFlags = 0xcd5;
// TF: the processor traps behind each instruction (vol. 3, 2.3). A single step sets it.
inline constexpr uint64_t kTrapFlag = 0x100;

// True if both say the same of the guest: all but orig_rax, and of rflags only kGuestFlags.
bool same_guest_state(const Registers& a, const Registers& b);

// One line for each register that differs between `expected` and `found`.
std::string describe_difference(const Registers& expected, const Registers& found);

// All registers, four to a line.
std::string describe(const Registers& registers);

// The general register that instructions number so: rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, and r8
// to r15 (SDM vol. 2, table 3-1).
uint64_t Registers::*general_register(unsigned number);

// x87, SSE, AVX and later state: the XSAVE area in standard format, as PTRACE_GETREGSET with
// NT_X86_XSTATE gives it (SDM vol. 1, 13.4). Empty means unknown.
using ExtendedState = std::vector<uint8_t>;

// True if both hold the same values. Components that one side marks as being in their initial
// state (a clear bit in XSTATE_BV) count as holding their initial values.
// FOP, FIP and FDP, which tell of the last x87 instruction, are left out.
bool same_extended_state(const ExtendedState& a, const ExtendedState& b);

// Sets FIP, the address of the last x87 instruction.
void set_x87_pointer(ExtendedState& state, GuestAddress pointer);

}  // namespace rchk
