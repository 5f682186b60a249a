#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "engine/translate/state_page.h"

namespace rchk::translate {

enum Register : uint8_t {
  kRax,
  kRcx,
  kRdx,
  kRbx,
  kRsp,
  kRbp,
  kRsi,
  kRdi,
  kR8,
  kR9,
  kR10,
  kR11,
  kR12,
  kR13,
  kR14,
  kR15
};

enum Condition : uint8_t { kOverflow = 0, kEqual = 4, kNotEqual = 5, kNotSign = 9 };

// Writes machine code through the tracer's own view of an arena; addresses are the puppet's.
// None of what it offers touches flags unless its name says so.
//
// Slots are places in the state page and what lies behind it, by their offset.
class Emitter {
 public:
  Emitter(uint8_t* bytes, uint64_t address, StateView state)
      : start_(bytes), out_(bytes), address_(address), state_(state) {}

  uint64_t here() const { return address_ + static_cast<uint64_t>(out_ - start_); }
  uint8_t* pointer() const { return out_; }
  uint8_t* pointer_at(uint64_t address) const { return start_ + (address - address_); }
  size_t size() const { return static_cast<size_t>(out_ - start_); }

  void byte(uint8_t value) { *out_++ = value; }
  template <typename... B>
  void bytes(B... values) {
    (byte(static_cast<uint8_t>(values)), ...);
  }
  void copy(const uint8_t* from, size_t count) {
    std::memcpy(out_, from, count);
    out_ += count;
  }
  void dword(uint32_t value) { put(&value, 4); }
  void qword(uint64_t value) { put(&value, 8); }

  void store(size_t slot_offset, Register from) { with_slot(0x89, from, slot_offset, kWide); }
  void load(Register to, size_t slot_offset) { with_slot(0x8b, to, slot_offset, kWide); }
  void load32(Register to, size_t slot_offset) { with_slot(0x8b, to, slot_offset, kNarrow); }
  void store32(size_t slot_offset, Register from) { with_slot(0x89, from, slot_offset, kNarrow); }
  void store_imm32(size_t slot_offset, uint32_t value) {
    with_slot(0xc7, kRax, slot_offset, kNarrow, sizeof(value));
    dword(value);
  }
  void jump_slot(size_t slot_offset) {  // jmp [slot]
    constexpr auto kJump = static_cast<Register>(4);
    with_slot(0xff, kJump, slot_offset, kNarrow);
  }
  void slot_address(Register to, size_t slot_offset) {  // lea to, [slot]
    with_slot(0x8d, to, slot_offset, kWide);
  }
  // jmp [slot + rcx % 65536 * 8], where rcx is also in the slot `saved`. rcx is lost.
  void jump_table(size_t slot_offset, size_t saved) {
    if (!state_.is_beside) {
      bytes(0x0f, 0xb7, 0xc9, 0xff, 0x24, 0xcd);  // movzx ecx, cx; jmp [table + rcx * 8]
      dword(static_cast<uint32_t>(state_.address + slot_offset));
      return;
    }
    // mov rcx, high; mov cx, [saved]; jmp [rcx * 8 + low]
    const uint64_t table = state_.address + slot_offset;
    move_imm64(kRcx, table / kTableEntry & ~kLow16);
    load16(kRcx, saved);
    bytes(0xff, 0x24, 0xcd);
    dword(static_cast<uint32_t>(table - (table / kTableEntry & ~kLow16) * kTableEntry));
  }
  // movzx ecx, byte [slot + rcx % 65536]; the slot `scratch` is lost.
  void load_byte_of(size_t slot_offset, size_t scratch) {
    const uint64_t table = state_.address + slot_offset;
    if (!state_.is_beside) {
      bytes(0x0f, 0xb7, 0xc9, 0x0f, 0xb6, 0x89);  // movzx ecx, cx; movzx ecx, byte [rcx + table]
      dword(static_cast<uint32_t>(table));
      return;
    }
    // mov [scratch], rcx; mov rcx, high; mov cx, [scratch]; movzx ecx, byte [rcx + low]
    store(scratch, kRcx);
    move_imm64(kRcx, table & ~kLow16);
    load16(kRcx, scratch);
    bytes(0x0f, 0xb6, 0x89);
    dword(static_cast<uint32_t>(table & kLow16));
  }

  // lea r11, [r11 + delta]
  void advance_counter(int32_t delta) {
    if (delta >= -128 && delta < 128)
      bytes(0x4d, 0x8d, 0x5b, delta);
    else {
      bytes(0x4d, 0x8d, 0x9b);
      dword(static_cast<uint32_t>(delta));
    }
  }
  // add r11, delta: sets flags
  void advance_counter_flags(int32_t delta) {
    if (delta >= -128 && delta < 128)
      bytes(0x49, 0x83, 0xc3, delta);
    else {
      bytes(0x49, 0x81, 0xc3);
      dword(static_cast<uint32_t>(delta));
    }
  }
  // ecx is 0 afterwards if and only if r11 + delta >= 0, for sums within 32 bits of 0.
  void counter_sign_to_ecx(int32_t delta) {
    if (delta == 0)
      bytes(0x4c, 0x89, 0xd9);  // mov rcx, r11
    else {
      bytes(0x49, 0x8d, 0x8b);
      dword(static_cast<uint32_t>(delta));
    }                         // lea rcx, [r11 + d]
    bytes(0x48, 0x0f, 0xc9);  // bswap rcx: the high half comes low
  }
  // Returns the place of the 8-bit distance.
  uint8_t* jecxz() {
    bytes(0x67, 0xe3, 0);
    return out_ - 1;
  }
  uint8_t* jrcxz() {
    bytes(0xe3, 0);
    return out_ - 1;
  }
  uint8_t* jump_short() {
    bytes(0xeb, 0);
    return out_ - 1;
  }
  uint8_t* jump_short_if(uint8_t condition) {
    bytes(0x70 | condition, 0);
    return out_ - 1;
  }
  void bind_short(uint8_t* place) { *place = static_cast<uint8_t>(out_ - place - 1); }

  // Return the place of the 32-bit distance.
  uint8_t* jump(uint64_t target) {
    byte(0xe9);
    return distance(target);
  }
  uint8_t* jump_if(uint8_t condition, uint64_t target) {
    bytes(0x0f, 0x80 | condition);
    return distance(target);
  }
  uint8_t* distance(uint64_t target) {
    dword(static_cast<uint32_t>(target - (here() + 4)));
    return out_ - 4;
  }
  void bind(uint8_t* place) {
    const auto value = static_cast<uint32_t>(out_ - place - 4);
    std::memcpy(place, &value, 4);
  }
  void move_imm64(Register to, uint64_t value) {
    bytes(0x48 | (to >> 3), 0xb8 | (to & 7));
    qword(value);
  }

 private:
  enum Width : uint8_t { kNarrow, kWide };
  static constexpr uint64_t kLow16 = 0xffff, kTableEntry = 8;

  void put(const void* from, size_t count) {
    std::memcpy(out_, from, count);
    out_ += count;
  }
  // Leaves the register's upper bits as they are.
  void load16(Register to, size_t slot_offset) {
    byte(0x66);
    with_slot(0x8b, to, slot_offset, kNarrow);
  }
  // An instruction with a register, a slot as its operand and `behind` bytes behind that.
  void with_slot(uint8_t opcode, Register reg, size_t slot_offset, Width width, size_t behind = 0) {
    const bool wide = width == kWide;
    if (wide || reg >= kR8) byte(static_cast<uint8_t>(0x40 | (wide ? 8 : 0) | (reg >> 3) << 2));
    const uint64_t slot = state_.address + slot_offset;
    if (state_.is_beside) {
      bytes(opcode, (reg & 7) << 3 | 5);
      dword(static_cast<uint32_t>(slot - (here() + 4 + behind)));
    } else {
      bytes(opcode, (reg & 7) << 3 | 4, 0x25);
      dword(static_cast<uint32_t>(slot));
    }
  }

  uint8_t* start_;
  uint8_t* out_;
  uint64_t address_;
  StateView state_;
};

}  // namespace rchk::translate
