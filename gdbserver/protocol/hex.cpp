#include "gdbserver/protocol/hex.h"

#include <array>

namespace rchk::protocol {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";
constexpr uint8_t kNoDigit = 0xff;

constexpr std::array<uint8_t, 256> make_values() {
  std::array<uint8_t, 256> values{};
  values.fill(kNoDigit);
  for (uint8_t i = 0; i < 10; ++i) values['0' + i] = i;
  for (uint8_t i = 0; i < 6; ++i) {
    values['a' + i] = static_cast<uint8_t>(10 + i);
    values['A' + i] = static_cast<uint8_t>(10 + i);
  }
  return values;
}
constexpr std::array<uint8_t, 256> kValues = make_values();

uint8_t value_of(char digit) { return kValues[static_cast<uint8_t>(digit)]; }

}  // namespace

void append_hex(std::string& out, ByteView bytes) {
  const size_t start = out.size();
  out.resize(start + 2 * bytes.size());
  char* cursor = out.data() + start;
  for (const uint8_t byte : bytes) {
    *cursor++ = kDigits[byte >> 4];
    *cursor++ = kDigits[byte & 15];
  }
}

void append_hex(std::string& out, std::string_view text) { append_hex(out, bytes_of(text)); }

void append_number(std::string& out, uint64_t number) {
  int shift = 60;
  while (shift > 0 && (number >> shift) == 0) shift -= 4;
  for (; shift >= 0; shift -= 4) out.push_back(kDigits[number >> shift & 15]);
}

std::string hex_of(std::string_view text) {
  std::string out;
  append_hex(out, text);
  return out;
}

bool decode_hex_into(std::string_view digits, std::span<uint8_t> bytes) {
  if (digits.size() != 2 * bytes.size()) return false;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const uint8_t high = value_of(digits[2 * i]);
    const uint8_t low = value_of(digits[2 * i + 1]);
    if (high == kNoDigit || low == kNoDigit) return false;
    bytes[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return true;
}

std::optional<Bytes> decode_hex(std::string_view digits) {
  Bytes bytes(digits.size() / 2);
  if (!decode_hex_into(digits, bytes)) return std::nullopt;
  return bytes;
}

std::optional<std::string> decode_hex_text(std::string_view digits) {
  const std::optional<Bytes> bytes = decode_hex(digits);
  if (!bytes) return std::nullopt;
  return std::string(text_of(*bytes));
}

std::optional<uint64_t> parse_number(std::string_view digits) {
  PacketCursor cursor(digits);
  const std::optional<uint64_t> number = cursor.number();
  return cursor.at_end() ? number : std::nullopt;
}

std::optional<uint64_t> PacketCursor::number() {
  uint64_t number = 0;
  size_t count = 0;
  while (count < text_.size() && value_of(text_[count]) != kNoDigit) {
    if (count == 16) return std::nullopt;
    number = number << 4 | value_of(text_[count++]);
  }
  if (count == 0) return std::nullopt;
  text_.remove_prefix(count);
  return number;
}

std::optional<GuestAddress> PacketCursor::address() {
  const std::optional<uint64_t> value = number();
  if (!value) return std::nullopt;
  return GuestAddress{*value};
}

bool PacketCursor::accept(char expected) {
  if (text_.empty() || text_.front() != expected) return false;
  text_.remove_prefix(1);
  return true;
}

bool PacketCursor::accept(std::string_view expected) {
  if (!text_.starts_with(expected)) return false;
  text_.remove_prefix(expected.size());
  return true;
}

std::string_view PacketCursor::field(char delimiter) {
  const size_t end = text_.find(delimiter);
  const std::string_view found = text_.substr(0, end);
  text_.remove_prefix(end == std::string_view::npos ? text_.size() : end + 1);
  return found;
}

}  // namespace rchk::protocol
