#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

// The container's grammar (docs/trace-format.md, "Container"): a reserved front, the file header,
// then chunks.
namespace rchk::trace {

// Room at the front for what makes a closed recording a core file.
inline constexpr uint64_t kFrontBytes = 64 * 1024;
inline constexpr std::string_view kFrontText =
    "rchk recording, not closed as a core file; the recording begins at offset 65536\n";

inline constexpr uint16_t kMajorVersion = 1;
inline constexpr uint16_t kMinorVersion = 5;

// Stands behind the front, and is laid out like this in every version.
struct FileHeader {
  static constexpr uint8_t kMagic[8] = {'r', 'c', 'h', 'k', '\r', '\n', 0x1a, '\n'};

  uint8_t magic[8] = {};
  uint16_t major_version = 0;
  uint16_t minor_version = 0;
  uint32_t reserved = 0;
  uint64_t recording_id = 0;  // random; every chunk repeats it
  uint64_t xxh3 = 0;          // of the bytes before it
};
static_assert(sizeof(FileHeader) == 32);

enum class ChunkType : uint16_t {
  kInfo = 1,          // RecordingInfo; the first chunk, but for kDropped
  kEvents = 2,        // key: number of the first event; label: number of events
  kFileInfo = 3,      // label: FileId
  kFileContents = 4,  // label: FileId; key: offset in the file; raw bytes
  kIndex = 5,         // where the chunks before it are
  kEnd = 6,           // the trailer; key: offset of the index chunk
  kTaskCount = 7,     // TaskCount, of a recording that was closed
  kPages = 8,         // key: number of the first chunk in it (PageGroup)
  kSnapshot = 9,      // label: space; key: number of the event that it is behind
  // label: SnapshotNumber; key: the space. All its pages.
  kPageDirectory = 10,
  // All that is needed to replay what follows alone. Key: number of the event that comes next;
  // label: number of processes.
  kBeginning = 11,
  kDropped = 12,   // a hole where older history was; the first chunk, written in place
  kBookmark = 13,  // Bookmark, added to a recording that had been closed
  // ProcessMap, of a recording that was closed and has events that can be
  kProcesses = 14,
  kTaskNames = 15,  // what tasks are called from some event on, in the order of events
};

// The versions of what chunks of a type hold: as this rchk writes it, unless it says otherwise, and
// the newest that it reads.
constexpr uint16_t version_of(ChunkType type) { return type == ChunkType::kEvents ? 3 : 1; }
// Of chunks of events where one is at a place by a snapshot, or has checksums of a state's pages.
inline constexpr uint16_t kEventsBySnapshot = 4, kEventsWithChecksums = 5;
// Of chunks of pages with more than one PageChunk.
inline constexpr uint16_t kPageGroups = 2;
constexpr uint16_t newest_version_of(ChunkType type) {
  switch (type) {
    case ChunkType::kEvents:
      return kEventsWithChecksums;
    case ChunkType::kPages:
      return kPageGroups;
    default:
      return version_of(type);
  }
}

enum class Encoding : uint8_t { kStored = 0, kZstd = 1 };

struct ChunkHeader {
  static constexpr uint32_t kMagic = 0x6b436872;  // "rhCk"

  uint32_t magic = kMagic;
  uint16_t type = 0;
  uint16_t version = 1;  // of this type's contents
  uint8_t encoding = 0;
  uint8_t reserved[3] = {};
  uint32_t label = 0;  // meaning depends on the type, as that of `key`
  uint64_t key = 0;
  uint64_t stored_bytes = 0;  // what follows this header
  uint64_t raw_bytes = 0;     // the same decompressed
  uint64_t recording_id = 0;
  uint64_t payload_xxh3 = 0;  // of the stored bytes
  uint64_t header_xxh3 = 0;   // of the header up to here

  ChunkType chunk_type() const { return static_cast<ChunkType>(type); }
  bool operator==(const ChunkHeader&) const = default;
};
static_assert(sizeof(ChunkHeader) == 64);

// No chunk is larger, raw or stored. One system call moves at most 2 GiB less a page
// (MAX_RW_COUNT, include/linux/fs.h), so that an event always fits.
inline constexpr uint64_t kMaxChunkBytes = (uint64_t{2} << 30) + (uint64_t{64} << 20);
// But for what was dropped: as much as a file can hold.
inline constexpr uint64_t kMostDroppedBytes = uint64_t{1} << 62;
// No batch holds more events.
inline constexpr uint32_t kMaxBatchEvents = 64 * 1024;
// Contents of files are cut into pieces of this size.
inline constexpr uint64_t kFilePieceBytes = 1024 * 1024;

uint64_t header_checksum(const FileHeader& header);
uint64_t header_checksum(const ChunkHeader& header);
uint64_t payload_checksum(ByteView payload);

// Uninitialised memory of a given size: a size that is a lie touches no page.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(uint64_t size_bytes) : bytes_(new uint8_t[size_bytes]), size_bytes_(size_bytes) {}
  uint8_t* data() { return bytes_.get(); }
  uint64_t size() const { return size_bytes_; }
  ByteView view() const { return {bytes_.get(), size_bytes_}; }

 private:
  std::unique_ptr<uint8_t[]> bytes_;
  uint64_t size_bytes_ = 0;
};

// Makes chunks ready to be written. Keeps its compressor: one for each thread.
class ChunkEncoder {
 public:
  explicit ChunkEncoder(uint64_t recording_id);
  ~ChunkEncoder();
  ChunkEncoder(const ChunkEncoder&) = delete;
  ChunkEncoder& operator=(const ChunkEncoder&) = delete;

  // The header and payload of a chunk. `header` says type, label and key; the rest is filled in.
  // Valid until the next call.
  ByteView encode(ChunkHeader& header, ByteView raw, Encoding encoding = Encoding::kZstd);

 private:
  uint64_t recording_id_;
  void* compressor_;
  Bytes bytes_;
};

// Decompresses payloads. Keeps its decompressor: one for each thread.
class ChunkDecoder {
 public:
  ChunkDecoder();
  ~ChunkDecoder();
  ChunkDecoder(const ChunkDecoder&) = delete;
  ChunkDecoder& operator=(const ChunkDecoder&) = delete;

  // What `stored`, the payload behind `header`, stands for. Errors say what is wrong with it.
  // REQUIRES: the header's sizes are within kMaxChunkBytes; both checksums are right.
  Result<Buffer> decode(const ChunkHeader& header, Buffer stored);

 private:
  void* decompressor_;
};

// Why a header cannot be one of this recording, or nothing.
std::optional<std::string> find_fault(const ChunkHeader& header, uint64_t recording_id);

}  // namespace rchk::trace
