#include "engine/record/tsc_sites.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rchk::record {
namespace {

using ::testing::ElementsAreArray;

constexpr GuestAddress kAt{0x7f0000001000};
const Bytes kShiftAndOr = {0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0};  // shl $32,%rdx; or %rdx,%rax

Bytes behind(Bytes first, const Bytes& next) {
  first.insert(first.end(), next.begin(), next.end());
  first.resize(first.size() + 20, 0xc3);
  return first;
}
Bytes rdtsc(const Bytes& next) { return behind({0x0f, 0x31}, next); }
Bytes rdtscp(const Bytes& next) { return behind({0x0f, 0x01, 0xf9}, next); }

TEST(TscSite, TakesWholeInstructions) {
  const auto plain = TscSite::find(kAt, rdtsc(kShiftAndOr));
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->length, 2u);
  EXPECT_EQ(plain->code.size(), 6u);
  EXPECT_FALSE(plain->tells_core);
  EXPECT_EQ(plain->middle(), (AddressRange{kAt + 1, kAt + 6}));
  const auto of_core = TscSite::find(kAt, rdtscp(kShiftAndOr));
  ASSERT_TRUE(of_core);
  EXPECT_EQ(of_core->length, 3u);
  EXPECT_EQ(of_core->code.size(), 7u);
  EXPECT_TRUE(of_core->tells_core);
  EXPECT_EQ(TscSite::find(kAt, rdtsc({0x0f, 0xae, 0xe8}))->code.size(), 5u);  // lfence
  // mov -8(%rbp), %rsi
  EXPECT_EQ(TscSite::find(kAt, rdtsc({0x48, 0x8b, 0x75, 0xf8}))->code.size(), 6u);
}

TEST(TscSite, LeavesAloneWhatHasToStay) {
  const Bytes kept[] = {
      {0xc3},                    // ret
      {0x75, 0x10, 0x90},        // jne
      {0xe8, 0, 0, 0, 0},        // call
      {0x0f, 0x05, 0x90},        // syscall
      {0x0f, 0x31, 0x90},        // another one
      {0x48, 0x8b, 0x4f, 0x10},  // mov 16(%rdi), %rcx: it may fault
      {0x49, 0x8b, 0x4d, 0x10},  // mov 16(%r13), %rcx
      {0x48, 0xf7, 0xf1},        // div %rcx
      {0x66, 0x90, 0xeb, 0xfe},  // a jump, if one gets that far
      {0xcc, 0x90, 0x90},        // int3
  };
  for (const Bytes& next : kept) {
    EXPECT_FALSE(TscSite::find(kAt, rdtsc(next))) << static_cast<int>(next[0]);
  }
  EXPECT_FALSE(TscSite::find(kAt, behind({0x0f, 0xa2}, kShiftAndOr)));  // cpuid
  EXPECT_FALSE(TscSite::find(kAt, behind({0x66, 0x0f, 0x31}, kShiftAndOr)));
  EXPECT_FALSE(TscSite::find(kAt, Bytes{0x0f, 0x31}));
}

TEST(TscSite, FollowersReachWhatTheyReached) {
  // lea 0x1000(%rip), %rdx, which ends at kAt + 9
  const auto site = TscSite::find(kAt, rdtsc({0x48, 0x8d, 0x15, 0x00, 0x10, 0x00, 0x00}));
  ASSERT_TRUE(site);
  EXPECT_EQ(site->code.size(), 9u);
  const GuestAddress place{0x7f0010000000};
  const auto moved = site->followers_at(place);
  ASSERT_TRUE(moved);
  ASSERT_EQ(moved->size(), 7u);
  int32_t displacement = 0;
  std::memcpy(&displacement, moved->data() + 3, sizeof(displacement));
  EXPECT_EQ(place.value + 7 + static_cast<uint64_t>(int64_t{displacement}), kAt.value + 9 + 0x1000);
  EXPECT_FALSE(site->followers_at({0x2aaaaaaa0000}));
  // What says nothing of where it is, goes anywhere.
  const auto anywhere = TscSite::find(kAt, rdtsc(kShiftAndOr))->followers_at({0x2aaaaaaa0000});
  ASSERT_TRUE(anywhere);
  EXPECT_THAT(*anywhere, ElementsAreArray(kShiftAndOr.data(), 4));
}

TEST(TscSite, WhatLeadsToItsMiddleIsFound) {
  constexpr GuestAddress kBegin{0x1000};
  const AddressRange middle{{0x1101}, {0x1106}};
  const auto code_with = [](size_t at, const Bytes& bytes) {
    Bytes code(0x400, 0x90);
    std::copy(bytes.begin(), bytes.end(), code.begin() + static_cast<ptrdiff_t>(at));
    return code;
  };
  const auto leads = [&](size_t at, const Bytes& bytes) {
    return may_lead_to(code_with(at, bytes), kBegin, middle);
  };
  EXPECT_FALSE(leads(0, {}));
  // jne, jmp, loop from 0x10f0, which end at 0x10f2
  for (const uint8_t opcode : {0x75, 0xeb, 0xe2}) {
    EXPECT_FALSE(leads(0xf0, {opcode, 0x0e})) << "to the instruction itself";
    EXPECT_TRUE(leads(0xf0, {opcode, 0x0f}));
    EXPECT_TRUE(leads(0xf0, {opcode, 0x13}));
    EXPECT_FALSE(leads(0xf0, {opcode, 0x14})) << "behind it";
  }
  EXPECT_TRUE(leads(0x170, {0x74, 0x90})) << "back: 0x1172 - 0x70";
  EXPECT_FALSE(leads(0xf0, {0x8b, 0x10}));
  // call and jmp from 0x1010, which end at 0x1015; jae, which ends at 0x1016
  for (const uint8_t opcode : {0xe8, 0xe9}) {
    EXPECT_TRUE(leads(0x10, {opcode, 0xed, 0, 0, 0}));
    EXPECT_FALSE(leads(0x10, {opcode, 0xeb, 0, 0, 0}));
  }
  EXPECT_TRUE(leads(0x10, {0x0f, 0x83, 0xeb, 0, 0, 0}));
  EXPECT_FALSE(leads(0x10, {0x8d, 0xed, 0, 0, 0}));
  EXPECT_TRUE(leads(0x3f0, {0xe9, 0x0d, 0xfd, 0xff, 0xff})) << "back: 0x13f5 - 0x2f3";
}

TEST(TscScale, GoesOnFromTheCounter) {
  const TscSample start{1'000'000'000, 5'000}, now{1'010'000'000, 25'005'000};
  const auto scale = scale_of(start, now);
  ASSERT_TRUE(scale);
  EXPECT_EQ(scale->at(now.clock_ns), now.ticks);
  EXPECT_EQ(scale->at(now.clock_ns + 1'000'000'000), now.ticks + 2'500'000'000);
  // A hundred days later.
  EXPECT_EQ(scale->at(now.clock_ns + 8'640'000'000'000'000), now.ticks + 21'600'000'000'000'000);
  EXPECT_FALSE(scale_of(start, {1'000'100'000, 255'000})) << "too close together";
  EXPECT_FALSE(scale_of(now, start));
}

TEST(TscScale, SaysWhatTheCounterSays) {
  const TscSample start = TscSample::take();
  TscSample now = TscSample::take();
  while (now.clock_ns < start.clock_ns + 5'000'000) now = TscSample::take();
  const auto scale = scale_of(start, now);
  ASSERT_TRUE(scale);
  EXPECT_GE(scale->now(), now.ticks);
  const TscSample later = TscSample::take();
  const double off =
      static_cast<double>(scale->at(later.clock_ns)) - static_cast<double>(later.ticks);
  EXPECT_LT(off < 0 ? -off : off, 1e6);
}

}  // namespace
}  // namespace rchk::record
