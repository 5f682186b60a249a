#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/types.h"

namespace rchk::protocol {

// Appends two lower-case digits a byte.
void append_hex(std::string& out, ByteView bytes);
void append_hex(std::string& out, std::string_view text);
// Appends a number without leading zeros.
void append_number(std::string& out, uint64_t number);
std::string hex_of(std::string_view text);

// Decodes pairs of digits; nothing when the text is not that.
std::optional<Bytes> decode_hex(std::string_view digits);
std::optional<std::string> decode_hex_text(std::string_view digits);
// Decodes exactly bytes.size() bytes.
bool decode_hex_into(std::string_view digits, std::span<uint8_t> bytes);
// The whole text as a number, at most 16 digits.
std::optional<uint64_t> parse_number(std::string_view digits);

inline ByteView bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view text_of(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Walks through the fields of a packet, which may be hostile. A step that does not fit returns
// nothing or false, and leaves the cursor where it was.
class PacketCursor {
 public:
  explicit PacketCursor(std::string_view text) : text_(text) {}

  // As many hexadecimal digits as there are: 1 to 16.
  std::optional<uint64_t> number();
  std::optional<GuestAddress> address();
  bool accept(char expected);
  bool accept(std::string_view expected);
  // What stands before the next `delimiter` or the end; the delimiter is passed over.
  std::string_view field(char delimiter);
  std::string_view rest() const { return text_; }
  bool at_end() const { return text_.empty(); }

 private:
  std::string_view text_;
};

}  // namespace rchk::protocol
