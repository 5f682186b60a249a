#include "engine/trace/container.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <sys/stat.h>
#include <unistd.h>

#include "base/file_io.h"

namespace rchk::trace {
namespace {

constexpr uint64_t kFirstChunk = kFrontBytes + sizeof(FileHeader);

}  // namespace

Result<Container> Container::open(FileDescriptor file, std::string name) {
  Container container(std::move(file), std::move(name));
  RCHK_TRY(container.read_file_header());
  RCHK_TRY_ASSIGN(const bool indexed, container.read_index());
  if (!indexed) RCHK_TRY(container.scan());
  return container;
}

Failure Container::bad(uint64_t offset, std::string_view reason) const {
  return fail(ErrorKind::kBadTrace, fmt::format("{}, offset {}: {}", name_, offset, reason));
}

Result<void> Container::read_exactly(uint64_t offset, void* out, uint64_t size_bytes) const {
  const size_t got = read_at(file_.get(), offset, {static_cast<uint8_t*>(out), size_bytes});
  if (got == size_bytes) return {};
  if (errno != 0) return fail_errno(fmt::format("reading {}", name_));
  return bad(offset + got, "the file became shorter while it was read");
}

Result<void> Container::read_file_header() {
  struct stat status;
  if (fstat(file_.get(), &status) != 0) return fail_errno(name_);
  if (!S_ISREG(status.st_mode)) {
    return fail(ErrorKind::kBadTrace, fmt::format("{}: not a regular file", name_));
  }
  size_bytes_ = static_cast<uint64_t>(status.st_size);
  if (size_bytes_ == 0) return fail(ErrorKind::kBadTrace, fmt::format("{}: is empty", name_));
  FileHeader header;
  if (size_bytes_ < kFirstChunk) {
    char front[16] = {};
    RCHK_TRY(read_exactly(0, front, std::min<uint64_t>(size_bytes_, sizeof front)));
    const bool begun = size_bytes_ >= sizeof front &&
                       kFrontText.starts_with(std::string_view(front, sizeof front));
    return fail(ErrorKind::kBadTrace,
                fmt::format("{}: {}", name_,
                            begun ? "a recording that ends before its first event"
                                  : "not an rchk recording"));
  }
  RCHK_TRY(read_exactly(kFrontBytes, &header, sizeof header));
  if (std::memcmp(header.magic, FileHeader::kMagic, sizeof header.magic) != 0) {
    return fail(ErrorKind::kBadTrace, fmt::format("{}: not an rchk recording", name_));
  }
  if (header.xxh3 != header_checksum(header)) {
    return bad(kFrontBytes, "the file header's checksum is wrong");
  }
  if (header.major_version != kMajorVersion) {
    return fail(ErrorKind::kBadTrace,
                fmt::format("{}: is of format version {}.{}; this rchk reads version {}", name_,
                            header.major_version, header.minor_version, kMajorVersion));
  }
  recording_id_ = header.recording_id;
  return {};
}

Result<bool> Container::read_index() {
  ChunkHeader trailer;
  if (size_bytes_ < kFirstChunk + 2 * sizeof trailer) return false;
  const uint64_t trailer_offset = size_bytes_ - sizeof trailer;
  RCHK_TRY(read_exactly(trailer_offset, &trailer, sizeof trailer));
  if (find_fault(trailer, recording_id_) || trailer.chunk_type() != ChunkType::kEnd ||
      trailer.stored_bytes != 0) {
    return false;
  }
  if (trailer.version != 1) {
    return bad(trailer_offset, fmt::format("the trailer is of version {}, not 1", trailer.version));
  }
  const uint64_t index_offset = trailer.key;
  if (index_offset < kFirstChunk || index_offset > trailer_offset - sizeof trailer) {
    return bad(trailer_offset, "the trailer names no place for an index");
  }
  ChunkHeader header;
  RCHK_TRY(read_exactly(index_offset, &header, sizeof header));
  const IndexEntry entry = IndexEntry::of(header, index_offset);
  if (const auto fault = find_fault(header, recording_id_)) return bad(index_offset, *fault);
  if (header.chunk_type() != ChunkType::kIndex || entry.end_offset() != trailer_offset) {
    return bad(index_offset, "no index stands before the trailer");
  }
  ChunkDecoder decoder;
  RCHK_TRY_ASSIGN(const Buffer raw, load(entry, decoder));
  RCHK_TRY_ASSIGN(chunks_, decode_index(raw.view(), name_ + ", in the index", 0));
  const uint64_t end = chunks_.empty() ? kFirstChunk : chunks_.back().end_offset();
  if (end != index_offset) return bad(index_offset, "the index leaves chunks out");
  tail_ = {entry, IndexEntry::of(trailer, trailer_offset)};
  complete_ = true;
  return true;
}

Result<void> Container::scan() {
  uint64_t offset = kFirstChunk;
  while (offset != size_bytes_) {
    ChunkHeader header;
    if (size_bytes_ - offset < sizeof header) return end_torn(offset, "a part of a chunk's header");
    RCHK_TRY(read_exactly(offset, &header, sizeof header));
    if (const auto fault = find_fault(header, recording_id_)) {
      // Chunks behind it show that this is no tail.
      if (const auto next = find_chunk_after(offset)) {
        return bad(offset, fmt::format("{}, and a chunk follows at {}", *fault, *next));
      }
      return end_torn(offset, *fault);
    }
    const IndexEntry entry = IndexEntry::of(header, offset);
    if (entry.end_offset() > size_bytes_) return end_torn(offset, "a part of a chunk");
    // In front of a trailer there may be others: see append_chunk().
    const bool is_last = entry.end_offset() == size_bytes_;
    if (header.chunk_type() == ChunkType::kEnd && is_last) {
      return bad(offset, "a trailer that names no index");
    }
    if (header.chunk_type() == ChunkType::kDropped && !chunks_.empty()) {
      return bad(offset, "what was dropped is not in front of everything");
    }
    chunks_.push_back(entry);
    offset = entry.end_offset();
  }
  return end_torn(offset, "");
}

std::optional<uint64_t> Container::find_chunk_after(uint64_t offset) const {
  constexpr uint64_t kWindowBytes = 1 << 20;
  uint8_t first_byte = 0;
  const uint32_t magic = ChunkHeader::kMagic;
  std::memcpy(&first_byte, &magic, 1);
  std::vector<uint8_t> window(kWindowBytes + sizeof(ChunkHeader));
  for (uint64_t start = offset + 1; start + sizeof(ChunkHeader) <= size_bytes_;
       start += kWindowBytes) {
    const uint64_t size = std::min<uint64_t>(window.size(), size_bytes_ - start);
    if (!read_exactly(start, window.data(), size)) return std::nullopt;
    for (uint64_t i = 0; i + sizeof(ChunkHeader) <= size; ++i) {
      if (window[i] != first_byte) continue;
      ChunkHeader header;
      std::memcpy(&header, window.data() + i, sizeof header);
      if (!find_fault(header, recording_id_)) return start + i;
    }
  }
  return std::nullopt;
}

Result<void> Container::end_torn(uint64_t offset, std::string_view reason) {
  uint64_t end = offset;
  // A machine that crashed may have written sizes and headers without the contents.
  if (!chunks_.empty() && chunks_.back().chunk_type() != ChunkType::kDropped) {
    const IndexEntry last = chunks_.back();
    if (const auto checked = check(last); !checked) {
      if (checked.error().kind != ErrorKind::kBadTrace) return Failure(checked.error());
      end = last.offset;
      reason = "a chunk whose contents are damaged";
      chunks_.pop_back();
    }
  }
  torn_tail_note_ =
      fmt::format("{}: the recording was not closed; it is usable up to offset {}", name_, end);
  if (end != size_bytes_) {
    torn_tail_note_ +=
        fmt::format(", and the {} bytes behind that are lost ({})", size_bytes_ - end, reason);
  }
  return {};
}

Result<Container::StoredChunk> Container::read_chunk(const IndexEntry& entry) const {
  StoredChunk chunk;
  ChunkHeader& header = chunk.header;
  if (entry.end_offset() > size_bytes_) return bad(entry.offset, "the chunk ends behind the file");
  RCHK_TRY(read_exactly(entry.offset, &header, sizeof header));
  if (const auto fault = find_fault(header, recording_id_)) return bad(entry.offset, *fault);
  if (IndexEntry::of(header, entry.offset) != entry) {
    return bad(entry.offset, "the index says otherwise of this chunk");
  }
  chunk.payload = Buffer(header.stored_bytes);
  RCHK_TRY(read_exactly(entry.offset + sizeof header, chunk.payload.data(), chunk.payload.size()));
  if (payload_checksum(chunk.payload.view()) != header.payload_xxh3) {
    return bad(entry.offset, "the chunk's checksum is wrong");
  }
  return chunk;
}

Result<void> Container::check(const IndexEntry& entry) const {
  RCHK_TRY(read_chunk(entry));
  return {};
}

Result<Buffer> Container::load(const IndexEntry& entry, ChunkDecoder& decoder) const {
  RCHK_TRY_ASSIGN(StoredChunk chunk, read_chunk(entry));
  const ChunkType type = chunk.header.chunk_type();
  const uint16_t oldest = version_of(type), newest = newest_version_of(type);
  if (chunk.header.version < oldest || chunk.header.version > newest) {
    return bad(entry.offset,
               fmt::format("a chunk of type {}, version {}; this rchk reads {}", chunk.header.type,
                           chunk.header.version,
                           oldest == newest ? fmt::format("version {}", oldest)
                                            : fmt::format("versions {} to {}", oldest, newest)));
  }
  auto raw = decoder.decode(chunk.header, std::move(chunk.payload));
  if (!raw) return bad(entry.offset, raw.error().context);
  return raw;
}

}  // namespace rchk::trace
