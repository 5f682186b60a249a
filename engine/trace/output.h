#pragma once

#include <deque>
#include <string>

#include "base/fd.h"
#include "engine/trace/census.h"
#include "engine/trace/chunk.h"
#include "engine/trace/container.h"
#include "engine/trace/index.h"
#include "engine/trace/snapshot_writer.h"

namespace rchk::trace {

// A recording's file while it is written: from front to back, by one thread at a time. What is in
// front of some offset can be dropped; a reader finds a whole recording at any time.
class Output final : public ChunkOutput {
 public:
  Output(FileDescriptor file, std::string path, uint64_t recording_id)
      : file_(std::move(file)), path_(std::move(path)), id_(recording_id), encoder_(recording_id) {}

  // The front and the file header.
  Result<void> begin();
  // Goes on behind a recording that was closed; its index and trailer stay where they are.
  void go_on_behind(const Container& closed);
  Result<IndexEntry> chunk(ChunkHeader header, ByteView raw) override {
    return chunk(header, raw, Encoding::kZstd);
  }
  Result<IndexEntry> chunk(ChunkHeader header, ByteView raw, Encoding encoding);
  Result<Bytes> read(const IndexEntry& entry) override;
  // Writes a chunk that is there once more, and returns where it is now.
  Result<IndexEntry> repeat(const IndexEntry& entry);
  // Task count, processes, index and trailer.
  Result<void> end(const EndNotes& notes);
  // Index and trailer alone.
  Result<void> end();

  // Where the next chunk begins.
  uint64_t offset() const { return offset_; }
  // Where what is kept begins.
  uint64_t kept_from() const { return kept_from_; }
  // Drops all chunks before `offset`, where one begins: frees what they take of the disk.
  Result<void> drop_before(uint64_t offset);
  // kUnsupported where the file system does not free parts of files.
  Result<void> check_that_it_can_drop();

  // Makes a file of its own of what is there, as a recording that was closed.
  Result<void> save(const std::string& path, const EndNotes& notes);

 private:
  Result<void> write(ByteView bytes);
  Result<void> write_at(uint64_t offset, ByteView bytes);
  Result<void> read_exactly(uint64_t offset, void* out, uint64_t size_bytes) const;
  Result<void> write_dropped(uint64_t until);
  // Takes in what another one has; its first chunk is where offset() says, within a block.
  Result<void> copy(const Output& from);

  FileDescriptor file_;
  std::string path_;
  uint64_t id_;
  ChunkEncoder encoder_;
  ChunkDecoder decoder_;
  uint64_t offset_ = 0;
  uint64_t kept_from_ = 0;
  std::deque<IndexEntry> index_;  // of what is kept
  std::optional<IndexEntry> dropped_;
};

}  // namespace rchk::trace
