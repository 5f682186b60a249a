#include "gdbserver/protocol/packet_stream.h"

#include <algorithm>

#include "gdbserver/protocol/hex.h"

namespace rchk::protocol {
namespace {

constexpr char kInterruptByte = 0x03;

}  // namespace

Result<Received> PacketStream::receive() {
  for (;;) {
    std::string_view input = unread();
    const std::optional<FrameKind> frame = framer_.take(input);
    begin_ = end_ - input.size();
    if (!frame) {
      RCHK_TRY_ASSIGN(const bool more, fill());
      if (!more) return Received::kClosed;
      continue;
    }
    switch (*frame) {
      case FrameKind::kPacket:
        RCHK_TRY(acknowledge("+"));
        if (log_) log_('<', framer_.contents());
        return Received::kPacket;
      case FrameKind::kBadChecksum:
        if (acknowledgements_ == Acknowledgements::kOff) return Received::kDamaged;
        RCHK_TRY(acknowledge("-"));
        break;
      case FrameKind::kTooLong:
        // Asking for it again would bring the same.
        RCHK_TRY(acknowledge("+"));
        return Received::kDamaged;
      case FrameKind::kNack:
        // gdb sends one even so where an answer is long in coming (gdb/remote.c,
        // getpkt_or_notif_sane_1): to repeat that would be one answer too many.
        if (acknowledgements_ == Acknowledgements::kOff) break;
        if (!sent_.empty()) RCHK_TRY(transport_.write(sent_));
        break;
      case FrameKind::kInterrupt:
        interrupted_while_stopped_ = true;
        break;
      case FrameKind::kAck:
        break;
    }
  }
}

Result<void> PacketStream::send(std::string_view contents, Encoding encoding) {
  if (log_) log_('>', contents);
  sent_.clear();
  append_packet(sent_, contents, encoding);
  if (acknowledgements_ == Acknowledgements::kEndWithNextReply) {
    acknowledgements_ = Acknowledgements::kOff;
  }
  return transport_.write(sent_);
}

Result<void> PacketStream::send_console(std::string_view text) {
  constexpr size_t kMostAtOnce = kMaxPacketBytes / 2 - 16;
  std::string packet;
  while (!text.empty()) {
    packet.assign(1, 'O');
    append_hex(packet, text.substr(0, kMostAtOnce));
    RCHK_TRY(send(packet, Encoding::kText));
    text.remove_prefix(std::min(text.size(), kMostAtOnce));
  }
  return {};
}

bool PacketStream::interrupt_pending() {
  if (begin_ == end_) {
    if (!transport_.readable()) return false;
    const Result<bool> more = fill();
    if (!more || !*more) return true;
  }
  while (begin_ != end_) {
    const char byte = buffer_[begin_];
    if (byte == '$') return true;
    ++begin_;
    if (byte == kInterruptByte) return true;
  }
  return false;
}

Result<bool> PacketStream::fill() {
  // Cleared first: after a failure, nothing is unread.
  begin_ = end_ = 0;
  RCHK_TRY_ASSIGN(const size_t count, transport_.read(buffer_));
  end_ = count;
  return count != 0;
}

Result<void> PacketStream::acknowledge(std::string_view answer) {
  if (acknowledgements_ == Acknowledgements::kOff) return {};
  return transport_.write(answer);
}

}  // namespace rchk::protocol
