#include "engine/tracee/xsavec.h"

#include <cpuid.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace rchk::tracee {
namespace {

constexpr size_t kAreaBytes = 16384;
constexpr uint32_t kLazyBindingMask = 0xee;

bool machine_has_xsavec() {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(13, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & 2) != 0;
}

struct alignas(64) Area {
  uint8_t bytes[kAreaBytes] = {};
};

Registers requesting(uint32_t mask) {
  Registers registers;
  registers.rax = mask;
  return registers;
}

void store_into_area(const std::vector<StoredBytes>& stores, Area& area) {
  for (const StoredBytes& store : stores) {
    ASSERT_LE(store.address.value + store.bytes.size(), sizeof(area.bytes));
    std::copy(store.bytes.begin(), store.bytes.end(), area.bytes + store.address.value);
  }
}

uint64_t word_at(const Area& area, size_t offset) {
  uint64_t word = 0;
  std::memcpy(&word, area.bytes + offset, sizeof(word));
  return word;
}

ExtendedState initial_state() {
  ExtendedState state(kAreaBytes);
  const uint16_t control = 0x37f;
  const uint32_t mxcsr = 0x1f80;
  std::memcpy(state.data(), &control, sizeof(control));
  std::memcpy(state.data() + 24, &mxcsr, sizeof(mxcsr));
  return state;
}

void mark_present(ExtendedState& state, uint64_t components) {
  std::memcpy(state.data() + 512, &components, sizeof(components));
}

TEST(Xsavec, LeavesOutWhatHoldsInitialValuesWhateverTheProcessorSays) {
  if (!machine_has_xsavec()) GTEST_SKIP() << "no XSAVEC";
  const Xsavec xsavec = Xsavec::of_this_machine();
  ExtendedState state = initial_state();
  const auto idle = xsavec.stores({}, requesting(0xff), state);
  mark_present(state, 0xff);
  const auto marked = xsavec.stores({}, requesting(0xff), state);
  ASSERT_EQ(idle.size(), 1u);
  ASSERT_EQ(marked.size(), 1u);
  EXPECT_EQ(idle[0].bytes, marked[0].bytes);
  EXPECT_EQ(idle[0].address.value, 512u);
  uint64_t header[2];
  ASSERT_EQ(idle[0].bytes.size(), sizeof(header));
  std::memcpy(header, idle[0].bytes.data(), sizeof(header));
  EXPECT_EQ(header[0], 0u);
  EXPECT_EQ(header[1] >> 63, 1u);
  EXPECT_EQ(header[1] & 3, 3u);
}

TEST(Xsavec, SavesSseForItsControlRegisterToo) {
  if (!machine_has_xsavec()) GTEST_SKIP() << "no XSAVEC";
  ExtendedState state = initial_state();
  const uint32_t mxcsr = 0x9f80;
  std::memcpy(state.data() + 24, &mxcsr, sizeof(mxcsr));
  Area area;
  std::fill(std::begin(area.bytes), std::end(area.bytes), 0xaa);
  store_into_area(Xsavec::of_this_machine().stores({}, requesting(kLazyBindingMask), state), area);
  EXPECT_EQ(word_at(area, 512), 2u);
  EXPECT_EQ(static_cast<uint32_t>(word_at(area, 24)), mxcsr);
  EXPECT_EQ(word_at(area, 160), 0u);
  EXPECT_EQ(word_at(area, 0), 0xaaaaaaaaaaaaaaaau) << "x87 was not asked for";
}

// XRSTOR has the last word on what an image means.
TEST(Xsavec, MakesAnImageThatTheProcessorRestores) {
  if (!machine_has_xsavec()) GTEST_SKIP() << "no XSAVEC";
  const auto before = std::make_unique<Area>();
  const auto image = std::make_unique<Area>();
  const auto after = std::make_unique<Area>();
  const uint64_t pattern[2] = {0x1122334455667788, 0x99aabbccddeeff00};
  asm volatile(
      "movups %[pattern], %%xmm3\n"
      "movups %[pattern], %%xmm15\n"
      "xsave64 %[area]"
      : [area] "+m"(*before)
      : [pattern] "m"(pattern), "a"(-1), "d"(-1)
      : "xmm3", "xmm15", "memory");
  const ExtendedState state(std::begin(before->bytes), std::end(before->bytes));
  store_into_area(Xsavec::of_this_machine().stores({}, requesting(kLazyBindingMask), state),
                  *image);
  uint32_t low = kLazyBindingMask, high = 0;
  asm volatile(
      "xorps %%xmm3, %%xmm3\n"
      "xrstor64 %[image]\n"
      "mov $-1, %%eax\n"
      "mov $-1, %%edx\n"
      "xsave64 %[area]"
      : [area] "+m"(*after), "+a"(low), "+d"(high)
      : [image] "m"(*image)
      : "xmm3", "xmm15", "memory");
  const ExtendedState restored(std::begin(after->bytes), std::end(after->bytes));
  EXPECT_EQ(std::memcmp(restored.data() + 160, state.data() + 160, 256), 0);
  EXPECT_EQ(word_at(*after, 160 + 3 * 16), pattern[0]);
  EXPECT_EQ(word_at(*after, 160 + 15 * 16 + 8), pattern[1]);
}

TEST(Xsavec, DecodesItsOperand) {
  Registers registers;
  registers.rsp = 0x7000;
  registers.r13 = 0x100;
  registers.r9 = 0x10;
  registers.rip = 0x400000;
  registers.fs_base = 0x1000000;
  const auto decode = [&](std::vector<uint8_t> code) { return decode_xsavec(code, registers); };
  auto found = decode({0x0f, 0xc7, 0x64, 0x24, 0x40});  // 0x40(%rsp)
  ASSERT_TRUE(found);
  EXPECT_EQ(found->area.value, 0x7040u);
  EXPECT_EQ(found->length, 5);
  found = decode({0x0f, 0xc7, 0xa4, 0x24, 0x00, 0xff, 0xff, 0xff});  // -0x100(%rsp)
  ASSERT_TRUE(found);
  EXPECT_EQ(found->area.value, 0x6f00u);
  EXPECT_EQ(found->length, 8);
  found = decode({0x64, 0x4b, 0x0f, 0xc7, 0x64, 0xcd, 0x08});  // %fs:8(%r13,%r9,8), REX.W
  ASSERT_TRUE(found);
  EXPECT_EQ(found->area.value, 0x1000188u);
  EXPECT_EQ(found->length, 7);
  found = decode({0x0f, 0xc7, 0x25, 0x10, 0x00, 0x00, 0x00});  // 0x10(%rip)
  ASSERT_TRUE(found);
  EXPECT_EQ(found->area.value, 0x400017u);
  EXPECT_FALSE(decode({0x0f, 0xc7, 0x4c, 0x24, 0x40})) << "cmpxchg8b";
  EXPECT_FALSE(decode({0x0f, 0xc7, 0xe4})) << "no memory operand";
  EXPECT_FALSE(decode({0x0f, 0xc7, 0xa4, 0x24, 0x00})) << "cut short";
  EXPECT_FALSE(decode({}));
}

TEST(Xsavec, IsFoundBehindItsMask) {
  std::vector<uint8_t> code(16, 0x90);
  const auto add = [&](std::initializer_list<uint8_t> bytes) {
    code.insert(code.end(), bytes.begin(), bytes.end());
  };
  add({0x0f, 0xc7, 0x64, 0x24, 0x40});  // no mask in front of it
  add({0xb8, 0xee, 0x00, 0x00, 0x00, 0x31, 0xd2});
  code.resize(code.size() + 40, 0x90);
  const size_t expected = code.size();
  add({0x0f, 0xc7, 0x64, 0x24, 0x40});
  code.resize(code.size() + 200, 0x90);
  add({0x0f, 0xc7, 0xa4, 0x24, 0x40, 0x00, 0x00, 0x00});  // too far from it
  EXPECT_EQ(find_lazy_binding_xsavec(code), std::vector<size_t>{expected});
  EXPECT_TRUE(find_lazy_binding_xsavec({}).empty());
}

}  // namespace
}  // namespace rchk::tracee
