#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace rchk {

using Bytes = std::vector<uint8_t>;
using ByteView = std::span<const uint8_t>;

// Appends little-endian values to a buffer.
class ByteWriter {
 public:
  explicit ByteWriter(Bytes& out) : out_(out) {}

  template <typename T>
  void value(const T& item) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto* bytes = reinterpret_cast<const uint8_t*>(&item);
    out_.insert(out_.end(), bytes, bytes + sizeof(T));
  }
  // Seven bits a byte, low ones first; the high bit says that more follow (LEB128).
  void varint(uint64_t number);
  // A varint length, then the bytes.
  void blob(ByteView bytes);
  void text(std::string_view text);

 private:
  Bytes& out_;
};

// A bounds-checked cursor over bytes that may be hostile. Its errors name `what` (a file, a
// chunk) and the offset. Reads past the end fail and leave the cursor where it was.
class ByteReader {
 public:
  ByteReader(ByteView bytes, std::string what, uint64_t base_offset = 0)
      : bytes_(bytes), what_(std::move(what)), base_offset_(base_offset) {}

  template <typename T>
  Result<T> value() {
    static_assert(std::is_trivially_copyable_v<T>);
    RCHK_TRY_ASSIGN(const ByteView raw, take(sizeof(T)));
    T item;
    std::memcpy(&item, raw.data(), sizeof(T));
    return item;
  }
  Result<uint64_t> varint();
  // A length-prefixed run of bytes; a view into the buffer.
  Result<ByteView> blob();
  Result<std::string> text();
  Result<ByteView> take(uint64_t count);

  uint64_t remaining() const { return bytes_.size() - position_; }
  bool at_end() const { return remaining() == 0; }
  uint64_t offset() const { return base_offset_ + position_; }
  // A kBadTrace error at the current offset.
  Failure bad(std::string_view reason) const;

 private:
  ByteView bytes_;
  std::string what_;
  uint64_t base_offset_ = 0;
  uint64_t position_ = 0;
};

}  // namespace rchk
