#include "gdbserver/protocol/register_map.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gdbserver/protocol/hex.h"

namespace rchk::protocol {
namespace {

using target::XsaveComponent;
using ::testing::HasSubstr;
using ::testing::Not;

// An Intel machine's layout: AVX, AVX-512 behind the gap of MPX, and protection keys.
target::XsaveLayout full_layout() {
  target::XsaveLayout layout;
  layout.components = 0x2e7;
  layout.offsets[2] = 576;
  layout.offsets[5] = 1088;
  layout.offsets[6] = 1152;
  layout.offsets[7] = 1664;
  layout.offsets[9] = 2688;
  return layout;
}
constexpr size_t kFullBytes = 2696;

ExtendedState state_with(uint64_t present) {
  ExtendedState state(kFullBytes, 0);
  std::memcpy(state.data() + 512, &present, sizeof(present));
  return state;
}

const RegisterDescription& named(const RegisterMap& map, std::string_view name) {
  for (const RegisterDescription& one : map.all()) {
    if (one.name == name) return one;
  }
  ADD_FAILURE() << "no register " << name;
  return map.all().front();
}

std::string value_of(const RegisterMap& map, std::string_view name, const RegisterValues& values) {
  std::string out;
  map.append_value(out, named(map, name), values);
  return out;
}

TEST(RegisterMap, NumbersTheGeneralRegistersAsGdbDoes) {
  const RegisterMap map(full_layout());
  EXPECT_EQ(map.find(kRbpNumber)->name, "rbp");
  EXPECT_EQ(map.find(kRspNumber)->name, "rsp");
  EXPECT_EQ(map.find(kRipNumber)->name, "rip");
  EXPECT_EQ(map.find(RegisterNumber{24})->name, "st0");
  EXPECT_EQ(map.find(RegisterNumber{32})->name, "fctrl");
  EXPECT_EQ(map.find(RegisterNumber{40})->name, "xmm0");
  EXPECT_EQ(map.find(RegisterNumber{57})->name, "orig_rax");
  EXPECT_EQ(map.find(RegisterNumber{58})->name, "fs_base");
  EXPECT_EQ(map.find(RegisterNumber{60})->name, "ymm0h");
  EXPECT_EQ(map.find(RegisterNumber{static_cast<uint32_t>(map.all().size())}), nullptr);
}

TEST(RegisterMap, KnowsGeneralRegistersByNumber) {
  Registers registers;
  uint64_t value = 1;
#define RCHK_REGISTER(name) registers.name = value++;
#include "base/registers.def"
#undef RCHK_REGISTER
  const RegisterMap map(full_layout());
  const RegisterValues values{registers, {}};
  for (uint32_t i = 0; i < map.all().size(); ++i) {
    const RegisterDescription& one = map.all()[i];
    const auto known = general_register(registers, RegisterNumber{i});
    EXPECT_EQ(known.has_value(), one.home == RegisterHome::kGeneral) << one.name;
    if (!known) continue;
    std::string expected;
    append_hex(expected, ByteView(reinterpret_cast<const uint8_t*>(&*known), one.size_bytes));
    EXPECT_EQ(value_of(map, one.name, values), expected) << one.name;
  }
}

TEST(RegisterMap, HasWhatTheMachineHas) {
  target::XsaveLayout sse_only;
  EXPECT_EQ(RegisterMap(sse_only).all().back().name, "gs_base");
  EXPECT_THAT(target_description(RegisterMap(sse_only)), Not(HasSubstr("i386.avx")));
  target::XsaveLayout avx = sse_only;
  avx.components = 7;
  avx.offsets[2] = 576;
  EXPECT_EQ(RegisterMap(avx).all().back().name, "ymm15h");
  EXPECT_THAT(target_description(RegisterMap(avx)), Not(HasSubstr("i386.avx512")));
  const std::string all = target_description(RegisterMap(full_layout()));
  for (const char* feature : {"core", "sse", "linux", "segments", "avx", "avx512", "pkeys"}) {
    EXPECT_THAT(all, HasSubstr(fmt::format("<feature name=\"org.gnu.gdb.i386.{}\">", feature)));
  }
}

TEST(RegisterMap, PacketIsAsLongAsItsRegisters) {
  const RegisterMap map(full_layout());
  std::string packet;
  map.append_all(packet, {Registers{}, state_with(0)});
  EXPECT_EQ(packet.size(), 2 * map.packet_bytes());
}

TEST(RegisterMap, ShowsInitialValuesOfUnusedComponents) {
  const RegisterMap map(full_layout());
  RegisterValues values{Registers{}, state_with(0)};
  // What stands there does not count.
  std::fill_n(values.extended.begin(), 512, uint8_t{0xaa});
  std::fill(values.extended.begin() + 576, values.extended.end(), uint8_t{0xaa});
  EXPECT_EQ(value_of(map, "fctrl", values), "7f030000");
  EXPECT_EQ(value_of(map, "ftag", values), "ffff0000");
  EXPECT_EQ(value_of(map, "mxcsr", values), "801f0000");
  EXPECT_EQ(value_of(map, "xmm3", values), std::string(32, '0'));
  EXPECT_EQ(value_of(map, "zmm31h", values), std::string(64, '0'));
  EXPECT_EQ(value_of(map, "pkru", values), "00000000");
}

TEST(RegisterMap, FindsEachComponent) {
  const RegisterMap map(full_layout());
  RegisterValues values{Registers{}, state_with(0x2e7)};
  const auto put = [&values](size_t offset) { values.extended[offset] = 0x5a; };
  put(32 + 16);              // st1
  put(160 + 16 * 15);        // xmm15
  put(576 + 16 * 2);         // ymm2h
  put(1088 + 8 * 7);         // k7
  put(1152 + 32 * 3);        // zmm3h
  put(1664 + 64 * 1);        // xmm17
  put(1664 + 64 * 1 + 16);   // ymm17h
  put(1664 + 64 * 15 + 32);  // zmm31h
  put(2688);                 // pkru
  for (const char* name :
       {"st1", "xmm15", "ymm2h", "k7", "zmm3h", "xmm17", "ymm17h", "zmm31h", "pkru"}) {
    EXPECT_THAT(value_of(map, name, values), ::testing::StartsWith("5a")) << name;
  }
  EXPECT_THAT(value_of(map, "st2", values), ::testing::StartsWith("00"));
}

TEST(RegisterMap, SplitsTheX87Environment) {
  const RegisterMap map(full_layout());
  RegisterValues values{Registers{}, state_with(1)};
  const uint8_t legacy[] = {0x7f, 0x02, 0x00, 0x38, 0,    0,    0x12, 0x03, 0x44, 0x33, 0x22,
                            0x11, 0x66, 0x55, 0x00, 0x00, 0x88, 0x77, 0x66, 0x55, 0xaa, 0x99};
  std::copy(std::begin(legacy), std::end(legacy), values.extended.begin());
  EXPECT_EQ(value_of(map, "fctrl", values), "7f020000");
  EXPECT_EQ(value_of(map, "fstat", values), "00380000");
  EXPECT_EQ(value_of(map, "fop", values), "12030000");
  EXPECT_EQ(value_of(map, "fioff", values), "44332211");
  EXPECT_EQ(value_of(map, "fiseg", values), "66550000");
  EXPECT_EQ(value_of(map, "fooff", values), "88776655");
  EXPECT_EQ(value_of(map, "foseg", values), "aa990000");
}

TEST(RegisterMap, MakesTheTagWord) {
  const RegisterMap map(full_layout());
  RegisterValues values{Registers{}, state_with(1)};
  ExtendedState& state = values.extended;
  state[3] = 0x38;  // top is 7: st0 is physical register 7, st1 is 0, st2 is 1, st3 is 2
  state[4] = 0x87;  // 7, 0, 1, 2 in use
  const auto put = [&state](int st, uint64_t significand, uint16_t exponent) {
    std::memcpy(state.data() + 32 + 16 * st, &significand, 8);
    std::memcpy(state.data() + 32 + 16 * st + 8, &exponent, 2);
  };
  put(0, uint64_t{1} << 63, 0x3fff);  // 1.0: valid, 0
  put(1, 0, 0x8000);                  // -0.0: zero, 1
  put(2, uint64_t{1} << 63, 0x7fff);  // infinity: special, 2
  put(3, 1, 0);                       // denormal: special, 2
  // From register 7 down to 0: 00 11 11 11 11 10 10 01
  EXPECT_EQ(value_of(map, "ftag", values), "e93f0000");
  // Writing it makes the short form again.
  const uint8_t bytes[] = {0xe9, 0x3f, 0, 0};
  state[4] = 0;
  EXPECT_TRUE(map.write(named(map, "ftag"), bytes, values));
  EXPECT_EQ(state[4], 0x87);
}

TEST(RegisterMap, ShowsUnknownRegistersAsSuch) {
  const RegisterMap map(full_layout());
  const RegisterValues unknown{Registers{}, {}};
  EXPECT_EQ(value_of(map, "xmm0", unknown), std::string(32, 'x'));
  EXPECT_EQ(value_of(map, "rax", unknown), std::string(16, '0'));
  RegisterValues legacy_only{Registers{}, ExtendedState(576)};
  EXPECT_EQ(value_of(map, "xmm0", legacy_only), std::string(32, '0'));
  EXPECT_EQ(value_of(map, "ymm0h", legacy_only), std::string(32, 'x'));
  const Bytes value(16, 1);
  EXPECT_FALSE(map.write(named(map, "ymm0h"), value, legacy_only));
}

TEST(RegisterMap, WritesBringAComponentToLife) {
  const RegisterMap map(full_layout());
  RegisterValues values{Registers{}, state_with(0)};
  std::fill(values.extended.begin() + 576, values.extended.end(), uint8_t{0xaa});
  const Bytes value(16, 0x11);
  EXPECT_TRUE(map.write(named(map, "ymm1h"), value, values));
  EXPECT_EQ(values.extended[512], 4);
  EXPECT_EQ(value_of(map, "ymm1h", values), std::string(32, '1'));
  // Its other registers have their initial values, not what stood there.
  EXPECT_EQ(value_of(map, "ymm0h", values), std::string(32, '0'));
  EXPECT_EQ(value_of(map, "k0", values), std::string(16, '0'));
}

TEST(RegisterMap, WritesTheFirstX87RegisterWithAValidControlWord) {
  const RegisterMap map(full_layout());
  RegisterValues values{Registers{}, state_with(0)};
  EXPECT_TRUE(map.write(named(map, "st0"), Bytes(10, 1), values));
  EXPECT_EQ(value_of(map, "fctrl", values), "7f030000");
}

TEST(RegisterMap, WritesAllThatChanged) {
  const RegisterMap map(full_layout());
  RegisterValues values{Registers{}, state_with(0)};
  std::string packet;
  map.append_all(packet, values);
  EXPECT_TRUE(map.write_all(packet, values));
  // What is in its initial state stays there.
  EXPECT_EQ(values.extended[512], 0);
  packet.replace(2 * named(map, "rbx").packet_offset, 16, "0100000000000000");
  packet.replace(2 * named(map, "rcx").packet_offset, 16, "xxxxxxxxxxxxxxxx");
  values.general.rcx = 7;
  EXPECT_TRUE(map.write_all(packet, values));
  EXPECT_EQ(values.general.rbx, 1u);
  EXPECT_EQ(values.general.rcx, 7u);
}

TEST(RegisterMap, RefusesWrongSizes) {
  const RegisterMap map(full_layout());
  RegisterValues values{Registers{}, state_with(0)};
  EXPECT_FALSE(map.write(named(map, "rax"), Bytes(4), values));
  EXPECT_FALSE(map.write_all("00", values));
  EXPECT_FALSE(map.write_all(std::string(2 * map.packet_bytes(), 'g'), values));
}

TEST(RegisterMap, KnowsThisMachine) {
  const auto layout = target::XsaveLayout::of_this_machine();
  EXPECT_TRUE(layout.has(XsaveComponent::kX87));
  EXPECT_TRUE(layout.has(XsaveComponent::kSse));
  if (layout.has(XsaveComponent::kAvx)) {
    EXPECT_EQ(layout.offset_of(XsaveComponent::kAvx), 576u);
  }
}

}  // namespace
}  // namespace rchk::protocol
