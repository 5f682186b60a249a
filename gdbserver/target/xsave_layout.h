#pragma once

#include <array>
#include <cstdint>

#include <cpuid.h>

namespace rchk::target {

// The state components that a debugger can see (SDM vol. 1, 13.1).
enum class XsaveComponent : uint8_t {
  kX87 = 0,
  kSse = 1,
  kAvx = 2,        // high halves of ymm0-15
  kOpmask = 5,     // k0-7
  kZmmHigh = 6,    // high halves of zmm0-15
  kZmmHigh16 = 7,  // zmm16-31
  kPkru = 9,
};

// Where an XSAVE area in standard format keeps its components. Processors differ (AMD leaves no
// gap where Intel had MPX), so a recording is read with the layout of the machine it was made on.
struct XsaveLayout {
  static constexpr uint32_t kMaxComponents = 20;
  uint64_t components = 3;                         // bit i: component i is there (XCR0)
  std::array<uint32_t, kMaxComponents> offsets{};  // in bytes; 0 and 1 are in the legacy area

  bool has(XsaveComponent component) const {
    return (components >> static_cast<unsigned>(component) & 1) != 0;
  }
  uint32_t offset_of(XsaveComponent component) const {
    return offsets[static_cast<unsigned>(component)];
  }

  // CPUID leaf 0xD: subleaf 0 names the components in eax and edx, subleaf i the offset of
  // component i in ebx.
  static XsaveLayout of_this_machine() {
    XsaveLayout layout;
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (__get_cpuid_count(0xd, 0, &eax, &ebx, &ecx, &edx) == 0) return layout;
    layout.components = eax | static_cast<uint64_t>(edx) << 32;
    for (unsigned i = 2; i < kMaxComponents; ++i) {
      if ((layout.components >> i & 1) == 0) continue;
      if (__get_cpuid_count(0xd, i, &eax, &ebx, &ecx, &edx) != 0) layout.offsets[i] = ebx;
    }
    return layout;
  }
};

}  // namespace rchk::target
