#include "engine/record/vdso.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include <gmock/gmock.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "snapshot/address_space.h"

namespace rchk::record {
namespace {

Bytes image_of_this_process() {
  const auto maps = snapshot::read_proc_maps(getpid());
  for (const snapshot::ProcMapsEntry& entry : *maps) {
    if (entry.name != "[vdso]") continue;
    const auto* const begin = reinterpret_cast<const uint8_t*>(entry.range.begin.value);
    return Bytes(begin, begin + entry.range.size());
  }
  return {};
}

// Where its first function begins, behind what it says of itself.
size_t code_begin(const Bytes& image) {
  Bytes copy = image;
  const auto found = make_functions_calls(copy);
  size_t begin = image.size();
  if (!found) return begin;
  for (const VdsoCalls::Function& function : found->functions) {
    begin = std::min<size_t>(begin, function.offset);
  }
  return begin;
}

TEST(Vdso, ItsFunctionsBecomeCalls) {
  Bytes image = image_of_this_process();
  ASSERT_FALSE(image.empty());
  const Bytes before = image;
  const auto found = make_functions_calls(image);
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_EQ(image[found->syscall], 0x0f);
  EXPECT_EQ(image[found->syscall + 1], 0x05);
  for (const VdsoCalls::Function& function : found->functions) {
    uint32_t number = 0;
    ASSERT_EQ(image[function.offset], 0xb8);
    std::memcpy(&number, image.data() + function.offset + 1, sizeof(number));
    EXPECT_EQ(function.number, number);
    EXPECT_EQ(found->find(number), function.offset);
  }
  EXPECT_FALSE(found->find(1));
  EXPECT_GE(found->room_bytes, 100u);
  EXPECT_LT(found->room + found->room_bytes, image.size());
  // Of its code, nothing but the beginnings of functions.
  size_t changed = 0;
  for (size_t i = code_begin(image); i < image.size(); ++i) changed += image[i] != before[i];
  EXPECT_GT(changed, 8u);
  EXPECT_LE(changed, 8 * 8u);
  // The known functions do what they did.
  void* const place = mmap(nullptr, image.size(), PROT_READ | PROT_WRITE | PROT_EXEC,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(place, MAP_FAILED);
  std::memcpy(place, image.data(), image.size());
  const auto call = [&](uint64_t offset, uint64_t first, void* second) {
    auto* const function =
        reinterpret_cast<int64_t (*)(uint64_t, void*)>(static_cast<char*>(place) + offset);
    return function(first, second);
  };
  size_t calls = 0, refused = 0;
  for (size_t at = 0; at + 8 <= image.size(); ++at) {
    const uint8_t* const code = image.data() + at;
    if (code[0] == 0xb8 && code[5] == 0x0f && code[6] == 0x05 && code[7] == 0xc3) {
      ++calls;
      timespec now{};
      if (code[1] == 228) {
        EXPECT_EQ(call(at, CLOCK_MONOTONIC, &now), 0);
        EXPECT_EQ(call(at, 12345, &now), -EINVAL);
      }
    }
    if (std::memcmp(code, "\x48\xc7\xc0\xda\xff\xff\xff\xc3", 8) == 0) {
      ++refused;
      EXPECT_EQ(call(at, 0, nullptr), -ENOSYS);
    }
  }
  EXPECT_EQ(calls, 5u);
  EXPECT_LE(refused, 2u);
  munmap(place, image.size());
}

TEST(Vdso, WhatIsNoneIsRefused) {
  Bytes zeros(2 * kPageSize);
  EXPECT_FALSE(make_functions_calls(zeros));
  Bytes cut = image_of_this_process();
  cut.resize(kPageSize / 2);
  EXPECT_FALSE(make_functions_calls(cut));
}

}  // namespace
}  // namespace rchk::record
