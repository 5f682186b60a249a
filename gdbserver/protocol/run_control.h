#pragma once

#include <string_view>

#include "gdbserver/protocol/packet_stream.h"
#include "gdbserver/target/target.h"

namespace rchk::protocol {

// The debugger at the other end of the stream.
class SessionRunControl final : public target::RunControl {
 public:
  explicit SessionRunControl(PacketStream& stream) : stream_(stream) {}
  bool interrupted() override { return stream_.interrupt_pending(); }
  // A debugger that is gone is found out about by the next read.
  void console(std::string_view text) override { (void)stream_.send_console(text); }

 private:
  PacketStream& stream_;
};

}  // namespace rchk::protocol
