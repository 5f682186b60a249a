#pragma once

#include <chrono>
#include <cstdint>

#include "base/progress.h"
#include "gdbserver/protocol/packet_stream.h"

namespace rchk::protocol {

// Tells the user how far an answer has come that takes long, and keeps gdb waiting for it: it gives
// most answers up after some seconds without a byte (`set remotetimeout`, three times), and passes
// over acknowledgements in front of one (gdb/remote.c, getpkt_or_notif_sane_1).
class ProgressReport {
 public:
  using Clock = std::chrono::steady_clock;
  explicit ProgressReport(PacketStream& stream, Clock::time_point (*now)() = Clock::now)
      : stream_(stream), now_(now) {
    begin(Wait::kAnswer);
  }

  // What the debugger waits for.
  enum class Wait : uint8_t {
    kAnswer,   // no words can be shown meanwhile
    kMonitor,  // a monitor command's
    kStop,     // as long as it takes; an interrupt ends it
  };
  // Its packet has come.
  void begin(Wait wait);
  // lldb takes an acknowledgement for the answer.
  void set_keeps_waiting(bool keeps) { keeps_waiting_ = keeps; }

  // Called while the answer is made.
  void tell(const Progress::Words& words);

 private:
  PacketStream& stream_;
  Clock::time_point (*now_)();
  Wait wait_ = Wait::kAnswer;
  bool keeps_waiting_ = true;
  Clock::time_point begin_, next_line_, next_sign_;
};

}  // namespace rchk::protocol
