#pragma once

#include <array>
#include <cstdint>

// Lengths of instructions in 64-bit mode (SDM vol. 2, appendix A; AMD64 manual vol. 3, appendix A).
namespace rchk::translate::tables {

enum Layout : uint8_t {
  kBare = 0,
  kModrm = 1,
  kImm8 = 2,
  kImmZ = 4,    // 2 bytes with 66, else 4
  kBad = 8,     // invalid in 64-bit mode
  kOther = 16,  // handled by hand: prefixes, escapes, odd immediates
};

constexpr std::array<uint8_t, 256> one_byte_layouts() {
  std::array<uint8_t, 256> table{};
  auto fill = [&](int first, int last, uint8_t value) {
    for (int i = first; i <= last; ++i) table[i] = value;
  };
  for (int row = 0; row < 0x40; row += 8) {
    fill(row, row + 3, kModrm);
    table[row + 4] = kImm8;
    table[row + 5] = kImmZ;
    fill(row + 6, row + 7, kBad);
  }
  for (int prefix : {0x0f, 0x26, 0x2e, 0x36, 0x3e}) table[prefix] = kOther;
  fill(0x40, 0x4f, kOther);
  fill(0x60, 0x61, kBad);
  table[0x62] = kOther;
  table[0x63] = kModrm;
  fill(0x64, 0x67, kOther);
  table[0x68] = kImmZ;
  table[0x69] = kModrm | kImmZ;
  table[0x6a] = kImm8;
  table[0x6b] = kModrm | kImm8;
  fill(0x70, 0x7f, kImm8);
  table[0x80] = kModrm | kImm8;
  table[0x81] = kModrm | kImmZ;
  table[0x82] = kBad;
  table[0x83] = kModrm | kImm8;
  fill(0x84, 0x8f, kModrm);
  table[0x9a] = kBad;
  fill(0xa0, 0xa3, kOther);
  table[0xa8] = kImm8;
  table[0xa9] = kImmZ;
  fill(0xb0, 0xb7, kImm8);
  fill(0xb8, 0xbf, kOther);
  fill(0xc0, 0xc1, kModrm | kImm8);
  table[0xc2] = kOther;
  fill(0xc4, 0xc5, kOther);
  table[0xc6] = kModrm | kImm8;
  table[0xc7] = kModrm | kImmZ;
  table[0xc8] = kOther;
  table[0xca] = kOther;
  table[0xcd] = kImm8;
  table[0xce] = kBad;
  fill(0xd0, 0xd3, kModrm);
  fill(0xd4, 0xd6, kBad);
  fill(0xd8, 0xdf, kModrm);
  fill(0xe0, 0xe7, kImm8);
  fill(0xe8, 0xe9, kOther);
  table[0xea] = kBad;
  table[0xeb] = kImm8;
  table[0xf0] = kOther;
  fill(0xf2, 0xf3, kOther);
  fill(0xf6, 0xf7, kModrm);
  fill(0xfe, 0xff, kModrm);
  return table;
}

constexpr std::array<uint8_t, 256> two_byte_layouts() {
  std::array<uint8_t, 256> table{};
  auto fill = [&](int first, int last, uint8_t value) {
    for (int i = first; i <= last; ++i) table[i] = value;
  };
  fill(0x00, 0x03, kModrm);
  table[0x04] = kBad;
  table[0x0a] = kBad;
  table[0x0c] = kBad;
  table[0x0d] = kModrm;
  table[0x0f] = kModrm | kImm8;
  fill(0x10, 0x23, kModrm);
  fill(0x24, 0x27, kBad);
  fill(0x28, 0x2f, kModrm);
  table[0x36] = kBad;
  fill(0x38, 0x3f, kBad);  // 38 and 3A are escapes, taken before
  fill(0x40, 0x6f, kModrm);
  fill(0x70, 0x73, kModrm | kImm8);
  fill(0x74, 0x76, kModrm);
  fill(0x78, 0x7f, kModrm);
  fill(0x80, 0x8f, kOther);
  fill(0x90, 0x9f, kModrm);
  table[0xa3] = kModrm;
  table[0xa4] = kModrm | kImm8;
  table[0xa5] = kModrm;
  fill(0xa6, 0xa7, kBad);
  table[0xab] = kModrm;
  table[0xac] = kModrm | kImm8;
  fill(0xad, 0xb9, kModrm);
  table[0xba] = kModrm | kImm8;
  fill(0xbb, 0xc1, kModrm);
  table[0xc2] = kModrm | kImm8;
  table[0xc3] = kModrm;
  fill(0xc4, 0xc6, kModrm | kImm8);
  table[0xc7] = kModrm;
  fill(0xd0, 0xff, kModrm);
  return table;
}

inline constexpr auto kOneByte = one_byte_layouts();
inline constexpr auto kTwoByte = two_byte_layouts();

}  // namespace rchk::translate::tables
