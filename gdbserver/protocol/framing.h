#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace rchk::protocol {

// The longest packet that a debugger may send, and what PacketSize in qSupported says.
inline constexpr size_t kMaxPacketBytes = 0x20000;

enum class FrameKind : uint8_t {
  kPacket,       // whole, and its checksum is right
  kBadChecksum,  // whole, but damaged on its way
  kTooLong,      // longer than kMaxPacketBytes; its contents are dropped
  kAck,          // '+'
  kNack,         // '-'
  kInterrupt,    // 0x03
};

// Takes the stream of bytes that a debugger sends apart (gdb manual, "Overview" of the Remote
// Protocol): $<contents>#<two digits>, with } before an escaped byte. A $ inside of a packet
// starts it anew; what stands between packets and means nothing is skipped.
class Framer {
 public:
  // Consumes from the front of `input` up to the end of the next frame. Nothing: all was
  // consumed, and the frame is not complete.
  std::optional<FrameKind> take(std::string_view& input);

  // The contents of the last kPacket, unescaped; valid until the next take().
  const std::string& contents() const { return contents_; }

 private:
  enum class State : uint8_t { kBetween, kContents, kEscaped, kFirstDigit, kSecondDigit };

  std::optional<FrameKind> take_between(char byte);
  void take_contents(char byte);
  FrameKind finish(char last_digit);
  void start();
  void keep(char byte);

  State state_ = State::kBetween;
  std::string contents_;
  uint8_t sum_ = 0;
  char first_digit_ = 0;
  bool too_long_ = false;
};

// How a reply's contents go onto the wire.
enum class Encoding : uint8_t {
  kText,    // no byte of it needs an escape; runs are shortened
  kBinary,  // escaped by append_escaped(); runs are left alone, since debuggers disagree on the
            // order of the two decodings
};

// Appends `bytes` with # $ } * escaped.
void append_escaped(std::string& out, ByteView bytes);
// How many bytes `byte` takes when escaped.
size_t escaped_size(uint8_t byte);

// Appends a packet to `out`.
void append_packet(std::string& out, std::string_view contents, Encoding encoding);

}  // namespace rchk::protocol
