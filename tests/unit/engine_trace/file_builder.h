#pragma once

#include <cstring>
#include <vector>

#include "engine/trace/chunk.h"
#include "engine/trace/codec.h"
#include "engine/trace/index.h"

namespace rchk::trace {

// Puts recordings' files together by hand, with checksums that are right and whatever else the
// caller wants.
class FileBuilder {
 public:
  static constexpr uint64_t kRecordingId = 0x1122334455667788;

  FileBuilder() : bytes_(kFrontBytes) {
    std::memcpy(bytes_.data(), kFrontText.data(), kFrontText.size());
    std::memcpy(header_.magic, FileHeader::kMagic, sizeof header_.magic);
    header_.major_version = kMajorVersion;
    header_.minor_version = kMinorVersion;
    header_.recording_id = kRecordingId;
    put_header();
  }

  FileBuilder& version(uint16_t major, uint16_t minor) {
    header_.major_version = major;
    header_.minor_version = minor;
    put_header();
    return *this;
  }
  // Compresses nothing from here on.
  FileBuilder& stored() {
    encoding_ = Encoding::kStored;
    return *this;
  }
  FileBuilder& chunk(uint16_t type, ByteView raw, uint64_t key = 0, uint32_t label = 0) {
    ChunkHeader header;
    header.type = type;
    header.key = key;
    header.label = label;
    const uint64_t offset = bytes_.size();
    ChunkEncoder encoder(kRecordingId);
    const ByteView encoded = encoder.encode(header, raw, encoding_);
    bytes_.insert(bytes_.end(), encoded.begin(), encoded.end());
    entries_.push_back(IndexEntry::of(header, offset));
    return *this;
  }
  FileBuilder& chunk(ChunkType type, ByteView raw, uint64_t key = 0, uint32_t label = 0) {
    return chunk(static_cast<uint16_t>(type), raw, key, label);
  }
  FileBuilder& info(const RecordingInfo& info = {}) {
    return chunk(ChunkType::kInfo, encode_info(info));
  }
  FileBuilder& events(const std::vector<Event>& events, uint64_t first) {
    BatchEncoder encoder;
    for (const Event& event : events) encoder.add(event);
    return chunk(ChunkType::kEvents, encoder.bytes(), first, encoder.count());
  }
  FileBuilder& end() {
    const uint64_t index_offset = bytes_.size();
    const std::vector<IndexEntry> entries = entries_;
    chunk(ChunkType::kIndex, encode_index(entries));
    return chunk(ChunkType::kEnd, {}, index_offset);
  }
  // Changes the last chunk's header and makes its checksum right again.
  template <typename Change>
  FileBuilder& change_last(Change change) {
    ChunkHeader header;
    uint8_t* at = bytes_.data() + entries_.back().offset;
    std::memcpy(&header, at, sizeof header);
    change(header);
    header.header_xxh3 = header_checksum(header);
    std::memcpy(at, &header, sizeof header);
    entries_.back() = IndexEntry::of(header, entries_.back().offset);
    return *this;
  }
  FileBuilder& raw(ByteView bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }

  uint64_t last_offset() const { return entries_.back().offset; }
  const Bytes& bytes() const { return bytes_; }

 private:
  void put_header() {
    header_.xxh3 = header_checksum(header_);
    if (bytes_.size() < kFrontBytes + sizeof header_) bytes_.resize(kFrontBytes + sizeof header_);
    std::memcpy(bytes_.data() + kFrontBytes, &header_, sizeof header_);
  }

  FileHeader header_;
  Encoding encoding_ = Encoding::kZstd;
  Bytes bytes_;
  std::vector<IndexEntry> entries_;
};

}  // namespace rchk::trace
