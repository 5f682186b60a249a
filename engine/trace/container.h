#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "engine/trace/chunk.h"
#include "engine/trace/index.h"

namespace rchk::trace {

// The chunks of a recording's file: finds them, tells a torn tail from damage, and loads them.
// Knows nothing of what is in a chunk, but for the index and the trailer.
class Container {
 public:
  static Result<Container> open(FileDescriptor file, std::string name);

  const std::vector<IndexEntry>& chunks() const { return chunks_; }
  // True if the trailer is there.
  bool is_complete() const { return complete_; }
  // What was left behind when it is not.
  const std::string& torn_tail_note() const { return torn_tail_note_; }
  const std::string& name() const { return name_; }
  // Index and trailer of one that is complete, which chunks() leaves out.
  const std::vector<IndexEntry>& tail() const { return tail_; }
  uint64_t recording_id() const { return recording_id_; }

  // What a chunk of a known type stands for, checked and decompressed. Not thread-safe.
  Result<Buffer> load(const IndexEntry& entry, ChunkDecoder& decoder) const;
  // Checks that a chunk of any type is what was written.
  Result<void> check(const IndexEntry& entry) const;
  // A kBadTrace error at an offset of the file.
  Failure bad(uint64_t offset, std::string_view reason) const;

 private:
  Container(FileDescriptor file, std::string name)
      : file_(std::move(file)), name_(std::move(name)) {}

  struct StoredChunk {
    ChunkHeader header;
    Buffer payload;  // its checksum is right
  };
  Result<StoredChunk> read_chunk(const IndexEntry& entry) const;
  Result<void> read_exactly(uint64_t offset, void* out, uint64_t size_bytes) const;
  Result<void> read_file_header();
  // The chunks as the index names them; false if there is no trailer.
  Result<bool> read_index();
  // The chunks as they follow one another.
  Result<void> scan();
  Result<void> end_torn(uint64_t offset, std::string_view reason);
  std::optional<uint64_t> find_chunk_after(uint64_t offset) const;

  FileDescriptor file_;
  std::string name_;
  uint64_t size_bytes_ = 0;
  uint64_t recording_id_ = 0;
  std::vector<IndexEntry> chunks_;
  std::vector<IndexEntry> tail_;
  bool complete_ = false;
  std::string torn_tail_note_;
};

}  // namespace rchk::trace
