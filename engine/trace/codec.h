#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/trace/chunk.h"
#include "engine/trace/event.h"
#include "engine/trace/snapshot.h"
#include "engine/trace/source.h"
#include "engine/trace/task_names.h"

namespace rchk::trace {

// What both sides of the event coding know from the events of the batch so far. Registers are
// coded as differences from a guess: from those last seen at the same pc, since a system call in
// a loop differs little from its predecessor, or else from those of the event before.
class CodingState {
 public:
  // The registers expected at an event of kind `kind` with `pc`.
  Registers guess(uint8_t kind, uint64_t pc) const;
  // Remembers an event's registers, before and after what it did.
  void remember(uint8_t kind, const Registers& before, const Registers& after);

  const Registers& last() const { return last_; }
  uint64_t time_ns = 0;
  Tid tid;
  uint32_t space = 0;

 private:
  Registers last_;
  std::unordered_map<uint64_t, Registers> by_pc_;  // key: pc and kind
};

// Encodes consecutive events into one buffer that is decoded as a whole (docs/trace-format.md,
// "Events").
class BatchEncoder {
 public:
  void add(const Event& event);
  uint32_t count() const { return count_; }
  uint64_t size_bytes() const { return bytes_.size(); }
  const Bytes& bytes() const { return bytes_; }
  // That a chunk of it needs.
  uint16_t version() const { return version_; }
  // Gives the buffer away and starts a new batch, in the memory of `spare`.
  Bytes take(Bytes spare = {});

 private:
  Bytes bytes_;
  uint32_t count_ = 0;
  uint16_t version_ = version_of(ChunkType::kEvents);
  CodingState state_;
};

// Decodes a batch that still grows, event by event.
class BatchDecoder {
 public:
  // The next event of a batch that has `bytes` by now. REQUIRES: it has another event.
  Result<Event> next(ByteView bytes);

 private:
  CodingState state_;
  uint64_t position_ = 0;
};

// Decodes a batch of `count` events; `what` and `base_offset` are for errors.
Result<std::vector<Event>> decode_batch(ByteView bytes, uint32_t count, const std::string& what,
                                        uint64_t base_offset);

Bytes encode_info(const RecordingInfo& info);
Result<RecordingInfo> decode_info(ByteView bytes, const std::string& what, uint64_t base_offset);

Bytes encode_file_info(const FileInfo& info);
Result<FileInfo> decode_file_info(ByteView bytes, const std::string& what, uint64_t base_offset);

Bytes encode_bookmark(const Bookmark& bookmark);
Bytes encode_task_count(const TaskCount& count);
Bytes encode_task_names(const std::vector<TaskName>& names);
Result<std::vector<TaskName>> decode_task_names(ByteView bytes, const std::string& what,
                                                uint64_t base_offset);
Result<Bookmark> decode_bookmark(ByteView bytes, const std::string& what, uint64_t base_offset);
Result<TaskCount> decode_task_count(ByteView bytes, const std::string& what, uint64_t base_offset);

// The image of a snapshot is coded as a batch of its own. `event` and `space` are in the chunk's
// header.
Bytes encode_snapshot(const Snapshot& snapshot, const std::vector<snapshot::PageChange>& changes);
struct DecodedSnapshot {
  Snapshot snapshot;
  std::vector<snapshot::PageChange> changes;
};
Result<DecodedSnapshot> decode_snapshot(ByteView bytes, const std::string& what,
                                        uint64_t base_offset);

Bytes encode_pages(const std::vector<snapshot::PageChange>& pages);
Result<std::vector<snapshot::PageChange>> decode_pages(ByteView bytes, const std::string& what,
                                                       uint64_t base_offset);

// A beginning (docs/notes/flight-recorder.md). The number of the next event is in the chunk's
// header.
struct Beginning {
  uint32_t snapshots = 0;  // page snapshots in front of it
  // ExecEvents with `resumed`, one for each process.
  std::vector<Event> processes;
};
Bytes encode_beginning(const Beginning& beginning);
Result<Beginning> decode_beginning(ByteView bytes, const std::string& what, uint64_t base_offset);

// A batch is closed when it reaches one of these.
inline constexpr uint64_t kBatchBytes = 256 * 1024;
inline constexpr uint32_t kBatchEvents = 4096;

}  // namespace rchk::trace
