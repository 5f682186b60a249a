#pragma once

#include <cstdint>

namespace rchk::record {

// Results that the kernel replaces before the guest sees them (include/linux/errno.h).
inline constexpr int64_t kRestartSys = -512, kRestartNoIntr = -513, kRestartNoHandler = -514,
                         kRestartBlock = -516;

constexpr bool is_restart(int64_t result) {
  return result == kRestartSys || result == kRestartNoIntr || result == kRestartNoHandler ||
         result == kRestartBlock;
}

// What becomes of a call that came back early.
enum class CallEnd : uint8_t {
  kForGuest,  // returns to the guest as the kernel says
  // Made again, unnoticed: it came back because of a signal that natively would not have woken it
  // (an ignored one: a tracer sees those), or of the recorder's own interrupt.
  kMadeAgain,
  kForHandler,  // a handler runs; whether the call is made again shows there
};

}  // namespace rchk::record
