#include "engine/trace/reader.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include <fcntl.h>

#include "engine/trace/codec.h"
#include "engine/trace/container.h"
#include "engine/trace/piece_map.h"
#include "engine/trace/recently_used.h"
#include "engine/trace/snapshot_reader.h"

namespace rchk::trace {
namespace {

// Some MiB each: enough for a replay and its neighbours in several threads.
constexpr size_t kCachedBatches = 8;
constexpr size_t kCachedPieces = 8;

}  // namespace

class TraceReader::Impl {
 public:
  explicit Impl(Container container) : container_(std::move(container)) {}

  // Sorts the chunks by what they are.
  Result<void> begin() {
    for (size_t i = 0; i < container_.chunks().size(); ++i) {
      const IndexEntry& chunk = container_.chunks()[i];
      if ((i == 0) != (chunk.chunk_type() == ChunkType::kInfo)) {
        return container_.bad(chunk.offset, "the recording's facts are not its first chunk");
      }
      RCHK_TRY(take_in(chunk, i));
    }
    if (container_.chunks().empty()) {
      return fail(ErrorKind::kBadTrace, fmt::format("{}: a recording that ends before its first "
                                                    "event",
                                                    container_.name()));
    }
    return {};
  }

  const RecordingInfo& info() const { return info_; }
  const Container& container() const { return container_; }
  uint64_t event_count() const { return event_count_; }
  const std::optional<TaskCount>& task_count() const { return task_count_; }
  std::vector<FileInfo> files() const { return files_; }
  SnapshotReader& snapshots() { return snapshots_; }

  Result<std::shared_ptr<const Event>> event(EventNumber number) {
    if (number.value >= event_count_) {
      return fail(ErrorKind::kMisuse, fmt::format("event {} was asked for; the recording has {}",
                                                  number, event_count_));
    }
    const auto next =
        std::upper_bound(batches_.begin(), batches_.end(), number.value,
                         [](uint64_t value, const IndexEntry& batch) { return value < batch.key; });
    const IndexEntry& batch = *std::prev(next);
    const auto load = [&]() -> Result<std::vector<Event>> { return load_batch(batch); };
    std::lock_guard lock(mutex_);
    RCHK_TRY_ASSIGN(const auto events, batch_cache_.get(batch.key, load));
    return std::shared_ptr<const Event>(events, &(*events)[number.value - batch.key]);
  }

  Result<FileInfo> file_info(FileId file) const {
    if (file.value >= files_.size()) {
      return fail(ErrorKind::kBadTrace,
                  fmt::format("{}: has no file {}", container_.name(), file.value));
    }
    return files_[file.value];
  }

  Result<Bytes> file_bytes(FileId file, uint64_t offset, uint64_t size) {
    RCHK_TRY_ASSIGN(const FileInfo info, file_info(file));
    std::lock_guard lock(mutex_);
    return assemble(info, pieces_[file.value], offset, size,
                    [&](const PieceMap::Piece& piece, uint64_t begin, uint8_t* out,
                        uint64_t count) -> Result<void> {
                      const auto load = [&]() { return load_piece(piece.source); };
                      RCHK_TRY_ASSIGN(const auto bytes, piece_cache_.get(piece.source, load));
                      std::memcpy(out, bytes->view().data() + (begin - piece.source_begin), count);
                      return {};
                    });
  }

  uint64_t file_contents_stored_bytes() const {
    uint64_t bytes = 0;
    for (const IndexEntry& chunk : container_.chunks()) {
      if (chunk.chunk_type() == ChunkType::kFileContents) bytes += chunk.stored_bytes;
    }
    return bytes;
  }

  Result<void> verify() {
    std::lock_guard lock(mutex_);
    for (const IndexEntry& chunk : container_.chunks()) {
      switch (chunk.chunk_type()) {
        case ChunkType::kEvents:
          RCHK_TRY(load_batch(chunk));
          continue;
        case ChunkType::kInfo:
        case ChunkType::kFileInfo:
        case ChunkType::kFileContents:
        case ChunkType::kTaskCount:
        case ChunkType::kPages:
        case ChunkType::kSnapshot:
        case ChunkType::kPageDirectory:
          RCHK_TRY(container_.load(chunk, decoder_));
          continue;
        case ChunkType::kIndex:
        case ChunkType::kEnd:
          break;
      }
      RCHK_TRY(container_.check(chunk));
    }
    return {};
  }

 private:
  Result<void> take_in(const IndexEntry& chunk, size_t index) {
    switch (chunk.chunk_type()) {
      case ChunkType::kInfo: {
        RCHK_TRY_ASSIGN(const Buffer raw, container_.load(chunk, decoder_));
        RCHK_TRY_ASSIGN(info_, decode_info(raw.view(), place_of(chunk), 0));
        return {};
      }
      case ChunkType::kEvents:
        if (chunk.key != event_count_ || chunk.label == 0 || chunk.label > kMaxBatchEvents) {
          return container_.bad(chunk.offset,
                                fmt::format("{} events from number {} where number {} comes next",
                                            chunk.label, chunk.key, event_count_));
        }
        event_count_ += chunk.label;
        batches_.push_back(chunk);
        return {};
      case ChunkType::kFileInfo: {
        RCHK_TRY_ASSIGN(const Buffer raw, container_.load(chunk, decoder_));
        RCHK_TRY_ASSIGN(FileInfo info, decode_file_info(raw.view(), place_of(chunk), 0));
        if (info.id.value != files_.size() || chunk.label != files_.size()) {
          return container_.bad(chunk.offset, fmt::format("file {} where file {} comes next",
                                                          info.id.value, files_.size()));
        }
        files_.push_back(std::move(info));
        pieces_.emplace_back();
        return {};
      }
      case ChunkType::kFileContents:
        if (chunk.label >= files_.size()) {
          return container_.bad(chunk.offset,
                                fmt::format("contents of the unknown file {}", chunk.label));
        }
        if (chunk.raw_bytes > kFilePieceBytes || chunk.key + chunk.raw_bytes < chunk.key) {
          return container_.bad(
              chunk.offset, fmt::format("{} bytes of a file at {}", chunk.raw_bytes, chunk.key));
        }
        pieces_[chunk.label].add(chunk.key, chunk.key + chunk.raw_bytes, index);
        return {};
      case ChunkType::kTaskCount: {
        RCHK_TRY_ASSIGN(const Buffer raw, container_.load(chunk, decoder_));
        RCHK_TRY_ASSIGN(task_count_, decode_task_count(raw.view(), place_of(chunk), 0));
        return {};
      }
      case ChunkType::kPages:
      case ChunkType::kSnapshot:
      case ChunkType::kPageDirectory:
        return snapshots_.take_in(chunk);
      case ChunkType::kIndex:
      case ChunkType::kEnd:
        break;
    }
    // Of a later version: nothing that this one needs.
    return {};
  }

  std::string place_of(const IndexEntry& chunk) const {
    return fmt::format("{}, in the chunk at {}", container_.name(), chunk.offset);
  }

  Result<std::vector<Event>> load_batch(const IndexEntry& batch) {
    RCHK_TRY_ASSIGN(const Buffer raw, container_.load(batch, decoder_));
    return decode_batch(raw.view(), batch.label, place_of(batch), 0);
  }

  Result<Buffer> load_piece(uint64_t index) {
    return container_.load(container_.chunks()[index], decoder_);
  }

  Container container_;
  SnapshotReader snapshots_{container_};
  RecordingInfo info_;
  uint64_t event_count_ = 0;
  std::optional<TaskCount> task_count_;
  std::vector<IndexEntry> batches_;  // in order
  std::vector<FileInfo> files_;      // by FileId
  std::vector<PieceMap> pieces_;     // by FileId; the source is an index into the chunks

  std::mutex mutex_;  // of what follows
  ChunkDecoder decoder_;
  RecentlyUsed<std::vector<Event>> batch_cache_{kCachedBatches};
  RecentlyUsed<Buffer> piece_cache_{kCachedPieces};
};

TraceReader::TraceReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TraceReader::~TraceReader() = default;

Result<std::unique_ptr<TraceReader>> TraceReader::open(const std::string& path) {
  // A recording is a regular file; O_NONBLOCK keeps a FIFO of that name from blocking here.
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.is_open()) return Failure(Error{ErrorKind::kBadTrace, errno, path});
  return open(std::move(file), path);
}

Result<std::unique_ptr<TraceReader>> TraceReader::open(FileDescriptor file, std::string name) {
  RCHK_TRY_ASSIGN(Container container, Container::open(std::move(file), std::move(name)));
  auto impl = std::make_unique<Impl>(std::move(container));
  RCHK_TRY(impl->begin());
  return std::unique_ptr<TraceReader>(new TraceReader(std::move(impl)));
}

const RecordingInfo& TraceReader::info() const { return impl_->info(); }
uint64_t TraceReader::event_count() const { return impl_->event_count(); }
Result<std::shared_ptr<const Event>> TraceReader::event(EventNumber number) {
  return impl_->event(number);
}
std::optional<TaskCount> TraceReader::task_count() const { return impl_->task_count(); }
SnapshotSource* TraceReader::snapshots() {
  return impl_->snapshots().empty() ? nullptr : &impl_->snapshots();
}
uint64_t TraceReader::snapshots_stored_bytes() const { return impl_->snapshots().stored_bytes(); }
std::vector<FileInfo> TraceReader::files() const { return impl_->files(); }
Result<FileInfo> TraceReader::file_info(FileId file) const { return impl_->file_info(file); }
Result<Bytes> TraceReader::file_bytes(FileId file, uint64_t offset_bytes, uint64_t size_bytes) {
  return impl_->file_bytes(file, offset_bytes, size_bytes);
}
bool TraceReader::is_complete() const { return impl_->container().is_complete(); }
std::string TraceReader::torn_tail_note() const { return impl_->container().torn_tail_note(); }
uint64_t TraceReader::file_contents_stored_bytes() const {
  return impl_->file_contents_stored_bytes();
}

Result<void> TraceReader::verify() { return impl_->verify(); }

}  // namespace rchk::trace
