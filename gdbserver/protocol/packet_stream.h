#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "gdbserver/protocol/framing.h"
#include "gdbserver/protocol/transport.h"

namespace rchk::protocol {

enum class Received : uint8_t {
  kPacket,   // contents() is to be answered
  kDamaged,  // a packet that cannot be used, and that no acknowledgement can ask for again
  kClosed,   // the debugger is gone
};

// Packets over a transport: buffers what comes in, acknowledges, and repeats what the debugger
// did not get. One write() a reply.
class PacketStream {
 public:
  // `log`, when there is one, is shown every packet: '<' what came in, '>' what went out.
  using Log = std::function<void(char direction, std::string_view contents)>;

  explicit PacketStream(Transport& transport, Log log = {})
      : transport_(transport), log_(std::move(log)) {}

  // Waits for the next packet. Interrupts are noted: nothing is running.
  Result<Received> receive();
  // The last packet received; valid until the next receive().
  const std::string& contents() const { return framer_.contents(); }

  Result<void> send(std::string_view contents, Encoding encoding);
  // Shows text on the debugger's console (O packets). Debuggers take it while they wait for a
  // stop reply, or for the end of a monitor command.
  Result<void> send_console(std::string_view text);

  // An acknowledgement that nobody has asked for.
  Result<void> send_sign_of_life() { return transport_.write("+"); }

  // For a running target: true if the debugger sent an interrupt, which is consumed; or another
  // packet, which is not; or left.
  bool interrupt_pending();

  // Whether receive() has noted an interrupt since this was asked last.
  bool take_late_interrupt() { return std::exchange(interrupted_while_stopped_, false); }

  // Acknowledgements stop after the next packet that is sent.
  void stop_acknowledging() { acknowledgements_ = Acknowledgements::kEndWithNextReply; }

 private:
  enum class Acknowledgements : uint8_t { kOn, kEndWithNextReply, kOff };

  // False at the end of the stream.
  Result<bool> fill();
  Result<void> acknowledge(std::string_view answer);
  std::string_view unread() const { return {buffer_.data() + begin_, end_ - begin_}; }

  Transport& transport_;
  Log log_;
  Framer framer_;
  std::vector<char> buffer_ = std::vector<char>(64 * 1024);
  size_t begin_ = 0, end_ = 0;  // the unread part of buffer_
  std::string sent_;            // the last packet as sent, for a repetition
  bool interrupted_while_stopped_ = false;
  Acknowledgements acknowledgements_ = Acknowledgements::kOn;
};

}  // namespace rchk::protocol
