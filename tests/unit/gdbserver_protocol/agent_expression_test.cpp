#include "gdbserver/protocol/agent_expression.h"

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gdbserver/protocol/hex.h"

namespace rchk::protocol {
namespace {

using ::testing::HasSubstr;

// rip is 0x1234, orig_rax 7; at 0x1000 stand the bytes 81 82 83 ... 88.
class Machine : public target::MachineView {
 public:
  Machine() {
    registers_.rip = 0x1234;
    registers_.rflags = 0xffff'ffff'0000'0202;
    registers_.orig_rax = 7;
    registers_.gs_base = 9;
  }
  const Registers& registers() const override { return registers_; }
  size_t read_memory(GuestAddress address, std::span<uint8_t> bytes) const override {
    size_t count = 0;
    for (; count < bytes.size(); ++count) {
      const uint64_t offset = address.value + count - 0x1000;
      if (offset >= 8) break;
      bytes[count] = static_cast<uint8_t>(0x81 + offset);
    }
    return count;
  }

 private:
  Registers registers_;
};

struct Case {
  const char* name;
  const char* bytecode;
  uint64_t value;
};

class Opcodes : public ::testing::TestWithParam<Case> {};

TEST_P(Opcodes, Compute) {
  const Result<uint64_t> value = evaluate(*decode_hex(GetParam().bytecode), Machine());
  ASSERT_TRUE(value) << value.error().message();
  EXPECT_EQ(*value, GetParam().value);
}

constexpr uint64_t minus(uint64_t value) { return ~value + 1; }

constexpr Case kCases[] = {
    {"const8", "22ff27", 0xff},
    {"const16", "23123427", 0x1234},
    {"const32", "241234567827", 0x12345678},
    {"const64", "25123456789abcdef027", 0x123456789abcdef0},
    {"add",
     "2205220302"
     "27",
     8},
    {"sub",
     "22052203"
     "0327",
     2},
    {"sub_wraps",
     "22032205"
     "0327",
     minus(2)},
    {"mul",
     "22052203"
     "0427",
     15},
    {"div_signed",
     "22f71608"
     "2202"
     "0527",
     minus(4)},
    {"div_unsigned",
     "22092202"
     "0627",
     4},
    {"rem_signed",
     "22f71608"
     "2202"
     "0727",
     minus(1)},
    {"rem_unsigned",
     "22082203"
     "0827",
     2},
    {"lsh",
     "22012204"
     "0927",
     16},
    {"lsh_too_far",
     "22012240"
     "0927",
     0},
    {"rsh_signed",
     "22f016082202"
     "0a27",
     minus(4)},
    {"rsh_signed_too_far",
     "22f01608"
     "22ff"
     "0a27",
     minus(1)},
    {"rsh_unsigned",
     "22f02204"
     "0b27",
     15},
    {"rsh_unsigned_too_far",
     "22f02240"
     "0b27",
     0},
    {"log_not_of_0", "22000e27", 1},
    {"log_not_of_5", "22050e27", 0},
    {"bit_and",
     "220c220a"
     "0f27",
     8},
    {"bit_or",
     "220c220a"
     "1027",
     14},
    {"bit_xor",
     "220c220a"
     "1127",
     6},
    {"bit_not", "22001227", UINT64_MAX},
    {"equal",
     "22052205"
     "1327",
     1},
    {"not_equal",
     "22052206"
     "1327",
     0},
    {"less_signed", "22ff160822011427", 1},
    {"less_unsigned", "22ff160822011527", 0},
    {"ext",
     "22801608"
     "27",
     minus(0x80)},
    {"ext_of_positive",
     "227f1608"
     "27",
     0x7f},
    {"ext_64", "2280164027", 0x80},
    {"zero_ext", "23ffff2a0827", 0xff},
    {"zero_ext_64", "22802a4027", 0x80},
    {"ref8", "2310001727", 0x81},
    {"ref16", "2310001827", 0x8281},
    {"ref32", "2310001927", 0x84838281},
    {"ref64", "2310001a27", 0x8887868584838281},
    {"reg_rip", "26001027", 0x1234},
    {"reg_eflags", "26001127", 0x202},
    {"reg_orig_rax", "26003927", 7},
    {"reg_gs_base", "26003b27", 9},
    {"dup", "2205280227", 10},
    {"pop",
     "2205220629"
     "27",
     5},
    {"swap", "220522062b0327", 1},
    {"pick_0", "2205220632000327", 0},
    {"pick_1",
     "220522063201"
     "27",
     5},
    {"rot_top", "2201220222033327", 2},       // 1 2 3 => 3 1 2
    {"rot_rest", "22012202220333290327", 2},  // 3 1 2, pop, 3 - 1
    {"goto", "21000522ff220127", 1},
    {"if_goto_taken",
     "2201200007"
     "22ff"
     "220227",
     2},
    {"if_goto_not_taken", "220020000722032722ff", 3},
};

INSTANTIATE_TEST_SUITE_P(Agent, Opcodes, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

struct BadCase {
  const char* name;
  const char* bytecode;
  const char* reason;
};

class BadBytecode : public ::testing::TestWithParam<BadCase> {};

TEST_P(BadBytecode, IsAnError) {
  const Bytes bytecode = *decode_hex(GetParam().bytecode);
  const Result<uint64_t> value = evaluate(bytecode, Machine());
  ASSERT_FALSE(value);
  EXPECT_THAT(value.error().message(), HasSubstr(GetParam().reason));
  // gdb is to look for itself.
  EXPECT_TRUE(condition_of(bytecode)(Machine()));
}

constexpr BadCase kBadCases[] = {
    {"empty", "", "past its end"},
    {"no_end", "2201", "past its end"},
    {"nothing_on_the_stack", "27", "stack"},
    {"add_of_one", "22010227", "stack"},
    {"log_not_of_nothing", "0e27", "stack"},
    {"dup_of_nothing", "2827", "stack"},
    {"pop_of_nothing", "2927", "stack"},
    {"swap_of_one", "22012b27", "stack"},
    {"pick_too_deep", "2201320127", "stack"},
    {"rot_of_two", "220122023327", "stack"},
    {"ref_of_nothing", "1727", "stack"},
    {"if_goto_of_nothing", "20000027", "stack"},
    {"ext_of_nothing", "160827", "stack"},
    {"cut_const64", "2511223344", "past its end"},
    {"cut_reg", "2600", "past its end"},
    {"cut_goto", "2100", "past its end"},
    {"cut_pick", "220132", "past its end"},
    {"cut_ext", "220116", "past its end"},
    {"goto_far_away", "21ffff27", "past its end"},
    {"unknown_opcode", "ff27", "unknown opcode"},
    {"float", "0127", "unknown opcode"},
    {"trace", "220122020c27", "unknown opcode"},
    {"divides_by_zero", "220122000527", "zero"},
    {"divides_unsigned_by_zero", "220122000627", "zero"},
    {"remainder_by_zero", "220122000727", "zero"},
    {"unreadable", "22001727", "unreadable"},
    {"half_readable", "2310071827", "unreadable"},
    {"vector_register", "26003027", "register"},
    {"no_register", "26ffff27", "register"},
    {"endless_loop", "210000", "does not end"},
    {"endless_stack", "2201210000", "stack"},
};

INSTANTIATE_TEST_SUITE_P(Agent, BadBytecode, ::testing::ValuesIn(kBadCases),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Agent, DividesTheSmallestNumberByMinusOne) {
  const std::string smallest =
      "258000000000000000"
      "22ff1608";
  EXPECT_EQ(evaluate(*decode_hex(smallest + "0527"), Machine()).value(), uint64_t{1} << 63);
  EXPECT_EQ(evaluate(*decode_hex(smallest + "0727"), Machine()).value(), 0u);
}

TEST(Agent, ConditionIsTheValueAsABool) {
  EXPECT_FALSE(condition_of(*decode_hex("220027"))(Machine()));
  EXPECT_TRUE(condition_of(*decode_hex("220227"))(Machine()));
}

TEST(Agent, SurvivesRandomBytecode) {
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    Bytes bytecode(random() % 40);
    for (uint8_t& byte : bytecode) byte = static_cast<uint8_t>(random() % 0x36);
    (void)evaluate(bytecode, Machine());
  }
}

}  // namespace
}  // namespace rchk::protocol
