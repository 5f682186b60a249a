#include "base/bytes.h"

namespace rchk {

void ByteWriter::varint(uint64_t number) {
  while (number >= 0x80) {
    out_.push_back(static_cast<uint8_t>(number | 0x80));
    number >>= 7;
  }
  out_.push_back(static_cast<uint8_t>(number));
}

void ByteWriter::blob(ByteView bytes) {
  varint(bytes.size());
  out_.insert(out_.end(), bytes.begin(), bytes.end());
}

void ByteWriter::text(std::string_view text) {
  blob({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

Result<uint64_t> ByteReader::varint() {
  const uint64_t start = position_;
  uint64_t number = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (at_end()) break;
    const uint8_t byte = bytes_[position_++];
    if (shift == 63 && byte > 1) break;
    number |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return number;
  }
  position_ = start;
  return bad("a number runs past its end");
}

Result<ByteView> ByteReader::blob() {
  const uint64_t start = position_;
  RCHK_TRY_ASSIGN(const uint64_t length, varint());
  auto bytes = take(length);
  if (!bytes) position_ = start;
  return bytes;
}

Result<std::string> ByteReader::text() {
  RCHK_TRY_ASSIGN(const ByteView bytes, blob());
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<ByteView> ByteReader::take(uint64_t count) {
  if (count > remaining()) {
    return bad(fmt::format("{} bytes are wanted and {} are left", count, remaining()));
  }
  const ByteView view = bytes_.subspan(position_, count);
  position_ += count;
  return view;
}

Failure ByteReader::bad(std::string_view reason) const {
  return fail(ErrorKind::kBadTrace, fmt::format("{}, offset {}: {}", what_, offset(), reason));
}

}  // namespace rchk
