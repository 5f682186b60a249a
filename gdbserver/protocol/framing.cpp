#include "gdbserver/protocol/framing.h"

#include <algorithm>
#include <array>

#include "gdbserver/protocol/hex.h"

namespace rchk::protocol {
namespace {

constexpr char kInterruptByte = 0x03;
constexpr char kEscape = '}';
constexpr char kEscapeMask = 0x20;

bool needs_escape(char byte) {
  return byte == '#' || byte == '$' || byte == kEscape || byte == '*';
}

// Runs are written X*N: X, then as many more of it as N - 29 says, at least 3 and at most 97 (N
// is a printable character).
constexpr size_t kLeastRepeats = 3;
constexpr size_t kMostRepeats = 97;
constexpr char kRepeatBase = 29;

// The character for as many of `repeats` as can be said: # and $ would end or start a packet,
// + and - look like acknowledgements.
size_t sayable_repeats(size_t repeats) {
  repeats = std::min(repeats, kMostRepeats);
  for (;; --repeats) {
    const char symbol = static_cast<char>(repeats + kRepeatBase);
    if (symbol != '#' && symbol != '$' && symbol != '+' && symbol != '-') return repeats;
  }
}

void append_with_runs(std::string& out, std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const char symbol = text[at];
    size_t end = at + 1;
    while (end < text.size() && text[end] == symbol) ++end;
    size_t left = end - at;
    while (left > 0) {
      out.push_back(symbol);
      --left;
      if (left < kLeastRepeats) continue;
      const size_t repeats = sayable_repeats(left);
      out.push_back('*');
      out.push_back(static_cast<char>(repeats + kRepeatBase));
      left -= repeats;
    }
    at = end;
  }
}

}  // namespace

std::optional<FrameKind> Framer::take(std::string_view& input) {
  while (!input.empty()) {
    const char byte = input.front();
    input.remove_prefix(1);
    switch (state_) {
      case State::kBetween:
        if (const auto kind = take_between(byte)) return kind;
        break;
      case State::kContents:
        take_contents(byte);
        break;
      case State::kEscaped:
        sum_ = static_cast<uint8_t>(sum_ + byte);
        keep(static_cast<char>(byte ^ kEscapeMask));
        state_ = State::kContents;
        break;
      case State::kFirstDigit:
        first_digit_ = byte;
        state_ = State::kSecondDigit;
        break;
      case State::kSecondDigit:
        return finish(byte);
    }
  }
  return std::nullopt;
}

std::optional<FrameKind> Framer::take_between(char byte) {
  switch (byte) {
    case '$':
      start();
      return std::nullopt;
    case '+':
      return FrameKind::kAck;
    case '-':
      return FrameKind::kNack;
    case kInterruptByte:
      return FrameKind::kInterrupt;
    default:
      return std::nullopt;
  }
}

void Framer::take_contents(char byte) {
  if (byte == '#') {
    state_ = State::kFirstDigit;
    return;
  }
  if (byte == '$') {
    start();
    return;
  }
  sum_ = static_cast<uint8_t>(sum_ + byte);
  if (byte == kEscape) {
    state_ = State::kEscaped;
  } else {
    keep(byte);
  }
}

FrameKind Framer::finish(char last_digit) {
  state_ = State::kBetween;
  const std::array<char, 2> digits = {first_digit_, last_digit};
  const auto claimed = parse_number({digits.data(), digits.size()});
  if (too_long_) return FrameKind::kTooLong;
  return claimed == sum_ ? FrameKind::kPacket : FrameKind::kBadChecksum;
}

void Framer::start() {
  state_ = State::kContents;
  contents_.clear();
  sum_ = 0;
  too_long_ = false;
}

void Framer::keep(char byte) {
  if (contents_.size() < kMaxPacketBytes) {
    contents_.push_back(byte);
  } else {
    too_long_ = true;
  }
}

size_t escaped_size(uint8_t byte) { return needs_escape(static_cast<char>(byte)) ? 2 : 1; }

void append_escaped(std::string& out, ByteView bytes) {
  for (const uint8_t byte : bytes) {
    const char symbol = static_cast<char>(byte);
    if (needs_escape(symbol)) {
      out.push_back(kEscape);
      out.push_back(static_cast<char>(symbol ^ kEscapeMask));
    } else {
      out.push_back(symbol);
    }
  }
}

void append_packet(std::string& out, std::string_view contents, Encoding encoding) {
  out.push_back('$');
  const size_t start = out.size();
  if (encoding == Encoding::kText) {
    append_with_runs(out, contents);
  } else {
    out.append(contents);
  }
  uint8_t sum = 0;
  for (size_t i = start; i < out.size(); ++i) sum = static_cast<uint8_t>(sum + out[i]);
  out.push_back('#');
  append_hex(out, ByteView(&sum, 1));
}

}  // namespace rchk::protocol
