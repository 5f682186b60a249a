#include "gdbserver/protocol/signals.h"

#include <csignal>

namespace rchk::protocol {
namespace {

constexpr int kGdbUnknown = 143;

struct Pair {
  int linux_number;
  int gdb_number;
};
constexpr Pair kPairs[] = {
    {0, 0},
#define RCHK_SIGNAL(linux_number, gdb_number) {linux_number, gdb_number},
#include "gdbserver/protocol/signals.def"
#undef RCHK_SIGNAL
    // gdb began with 33 to 63, and added 32 and 64 later.
    {32, 77},
    {64, 78},
};
constexpr int kFirstRealTime = 33, kLastRealTime = 63, kGdbFirstRealTime = 45;

}  // namespace

int gdb_signal_of(int linux_signal) {
  for (const Pair& pair : kPairs) {
    if (pair.linux_number == linux_signal) return pair.gdb_number;
  }
  if (linux_signal < kFirstRealTime || linux_signal > kLastRealTime) return kGdbUnknown;
  return linux_signal - kFirstRealTime + kGdbFirstRealTime;
}

int linux_signal_of(int gdb_signal) {
  for (const Pair& pair : kPairs) {
    if (pair.gdb_number == gdb_signal) return pair.linux_number;
  }
  const int real_time = gdb_signal - kGdbFirstRealTime + kFirstRealTime;
  return real_time >= kFirstRealTime && real_time <= kLastRealTime ? real_time : 0;
}

}  // namespace rchk::protocol
