#include "engine/trace/chunk.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include <xxhash.h>
#include <zstd.h>

#include "base/check.h"

namespace rchk::trace {
namespace {

// Of zstd. For events: costs the worker some 80 ns for a small one, less than the recording spends
// on encoding it. Contents of files and pages, and what calls read, are most of what there is to
// compress; with level 3 they take three times as long, files become a tenth smaller, and
// differences of pages not at all.
constexpr int kEventLevel = 3, kContentLevel = 1;
// Events that are larger than that on average hold what calls read.
constexpr uint64_t kLargeEventBytes = 1024;

int level_of(const ChunkHeader& header) {
  switch (header.chunk_type()) {
    case ChunkType::kFileContents:
    case ChunkType::kPages:
      return kContentLevel;
    case ChunkType::kEvents:
      return header.raw_bytes > header.label * kLargeEventBytes ? kContentLevel : kEventLevel;
    default:
      return kEventLevel;
  }
}

}  // namespace

uint64_t payload_checksum(ByteView payload) { return XXH3_64bits(payload.data(), payload.size()); }

uint64_t header_checksum(const FileHeader& header) {
  return XXH3_64bits(&header, offsetof(FileHeader, xxh3));
}

uint64_t header_checksum(const ChunkHeader& header) {
  return XXH3_64bits(&header, offsetof(ChunkHeader, header_xxh3));
}

std::optional<std::string> find_fault(const ChunkHeader& header, uint64_t recording_id) {
  if (header.magic != ChunkHeader::kMagic) return "no chunk begins here";
  if (header.header_xxh3 != header_checksum(header)) return "a chunk header's checksum is wrong";
  if (header.recording_id != recording_id) return "a chunk of another recording";
  const bool is_hole = header.chunk_type() == ChunkType::kDropped;
  const uint64_t most = is_hole ? kMostDroppedBytes : kMaxChunkBytes;
  if (header.stored_bytes > most || header.raw_bytes > most) {
    return fmt::format("a chunk of {} bytes ({} decompressed)", header.stored_bytes,
                       header.raw_bytes);
  }
  return std::nullopt;
}

ChunkEncoder::ChunkEncoder(uint64_t recording_id)
    : recording_id_(recording_id), compressor_(ZSTD_createCCtx()) {
  RCHK_CHECK(compressor_ != nullptr, "no memory for a compressor");
}

ChunkEncoder::~ChunkEncoder() { ZSTD_freeCCtx(static_cast<ZSTD_CCtx*>(compressor_)); }

ByteView ChunkEncoder::encode(ChunkHeader& header, ByteView raw, Encoding encoding) {
  RCHK_CHECK(raw.size() <= kMaxChunkBytes, "{} bytes", raw.size());
  header.version = std::max(header.version, version_of(header.chunk_type()));
  header.raw_bytes = raw.size();
  header.recording_id = recording_id_;
  uint64_t stored = 0;
  if (encoding == Encoding::kZstd) {
    bytes_.resize(sizeof header + ZSTD_compressBound(raw.size()));
    stored =
        ZSTD_compressCCtx(static_cast<ZSTD_CCtx*>(compressor_), bytes_.data() + sizeof header,
                          bytes_.size() - sizeof header, raw.data(), raw.size(), level_of(header));
    RCHK_CHECK(!ZSTD_isError(stored), "{}", ZSTD_getErrorName(stored));
    // What does not shrink is stored as it is.
    if (stored >= raw.size()) encoding = Encoding::kStored;
  }
  if (encoding == Encoding::kStored) {
    stored = raw.size();
    bytes_.resize(sizeof header + stored);
    if (stored != 0) std::memcpy(bytes_.data() + sizeof header, raw.data(), stored);
  }
  header.encoding = static_cast<uint8_t>(encoding);
  header.stored_bytes = stored;
  header.payload_xxh3 = payload_checksum({bytes_.data() + sizeof header, stored});
  header.header_xxh3 = header_checksum(header);
  std::memcpy(bytes_.data(), &header, sizeof header);
  return {bytes_.data(), sizeof header + stored};
}

ChunkDecoder::ChunkDecoder() : decompressor_(ZSTD_createDCtx()) {
  RCHK_CHECK(decompressor_ != nullptr, "no memory for a decompressor");
}

ChunkDecoder::~ChunkDecoder() { ZSTD_freeDCtx(static_cast<ZSTD_DCtx*>(decompressor_)); }

Result<Buffer> ChunkDecoder::decode(const ChunkHeader& header, Buffer stored) {
  switch (static_cast<Encoding>(header.encoding)) {
    case Encoding::kStored:
      if (header.raw_bytes != header.stored_bytes) {
        return fail(ErrorKind::kBadTrace, "the chunk's two sizes disagree");
      }
      return stored;
    case Encoding::kZstd: {
      Buffer raw(header.raw_bytes);
      const size_t size = ZSTD_decompressDCtx(static_cast<ZSTD_DCtx*>(decompressor_), raw.data(),
                                              raw.size(), stored.view().data(), stored.size());
      if (ZSTD_isError(size) || size != raw.size()) {
        return fail(ErrorKind::kBadTrace, "the chunk does not decompress to its size");
      }
      return raw;
    }
  }
  return fail(ErrorKind::kBadTrace,
              fmt::format("the chunk has the unknown encoding {}", header.encoding));
}

}  // namespace rchk::trace
