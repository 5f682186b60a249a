#include "engine/trace/event_log.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <mutex>

#include "engine/trace/codec.h"
#include "engine/trace/piece_map.h"
#include "engine/trace/recently_used.h"
#include "engine/trace/task_names.h"

namespace rchk::trace {
namespace {

constexpr size_t kCachedBatches = 8;

}  // namespace

class EventLog::Impl {
 public:
  explicit Impl(RecordingInfo info) : info_(std::move(info)) {}

  const RecordingInfo& info() const { return info_; }

  FileId add_file(FileInfo info) {
    std::lock_guard lock(mutex_);
    info.id.value = static_cast<uint32_t>(files_.size());
    const FileId id = info.id;
    files_.push_back({std::move(info), {}});
    return id;
  }

  Result<void> add_file_range(FileId file, uint64_t offset, ByteView bytes) {
    std::lock_guard lock(mutex_);
    if (file.value >= files_.size()) {
      return fail(ErrorKind::kMisuse, fmt::format("file {} was not added", file.value));
    }
    // Each part that is new becomes a source of its own, so that nothing is kept twice.
    PieceMap& pieces = files_[file.value].pieces;
    PieceMap probe = pieces;
    for (const PieceMap::Piece& piece : probe.add(offset, offset + bytes.size(), 0)) {
      const ByteView part = bytes.subspan(piece.begin - offset, piece.end - piece.begin);
      pieces.add(piece.begin, piece.end, contents_.size());
      contents_.emplace_back(part.begin(), part.end());
    }
    return {};
  }

  EventNumber append(const Event& event) {
    std::lock_guard lock(mutex_);
    open_.add(event);
    task_count_.add(event);
    if (open_.size_bytes() >= kBatchBytes || open_.count() >= kBatchEvents) {
      const uint32_t count = open_.count();
      Bytes bytes = open_.take();
      bytes.shrink_to_fit();
      batches_.push_back({event_count_ + 1 - count, count, std::move(bytes)});
    }
    return EventNumber{event_count_++};
  }

  Result<void> name_task(Tid tid, const std::string& name) {
    std::lock_guard lock(mutex_);
    if (event_count_ == 0) return fail(ErrorKind::kMisuse, "a name in front of all events");
    names_.add({{event_count_ - 1}, tid, name});
    return {};
  }

  std::string task_name(EventNumber event, Tid tid) const {
    std::lock_guard lock(mutex_);
    return names_.at(event, tid);
  }

  uint64_t event_count() const {
    std::lock_guard lock(mutex_);
    return event_count_;
  }

  TaskCount task_count() const {
    std::lock_guard lock(mutex_);
    return task_count_;
  }

  Result<std::shared_ptr<const Event>> event(EventNumber number) {
    std::lock_guard lock(mutex_);
    if (number.value >= event_count_) {
      return fail(ErrorKind::kMisuse, fmt::format("event {} was asked for; the recording has {}",
                                                  number, event_count_));
    }
    const uint64_t open_first = event_count_ - open_.count();
    if (number.value >= open_first) return open_event(number.value - open_first);
    const auto next =
        std::upper_bound(batches_.begin(), batches_.end(), number.value,
                         [](uint64_t value, const Batch& batch) { return value < batch.first; });
    const Batch& batch = *std::prev(next);
    const auto load = [&] { return decode_batch(batch.bytes, batch.count, "the event log", 0); };
    RCHK_TRY_ASSIGN(const auto events, cache_.get(batch.first, load));
    return std::shared_ptr<const Event>(events, &(*events)[number.value - batch.first]);
  }

  std::vector<FileInfo> files() const {
    std::lock_guard lock(mutex_);
    std::vector<FileInfo> infos;
    for (const File& file : files_) infos.push_back(file.info);
    return infos;
  }

  Result<FileInfo> file_info(FileId file) const {
    std::lock_guard lock(mutex_);
    RCHK_TRY_ASSIGN(const File* found, find(file));
    return found->info;
  }

  Result<Bytes> file_bytes(FileId file, uint64_t offset, uint64_t size) const {
    std::lock_guard lock(mutex_);
    RCHK_TRY_ASSIGN(const File* found, find(file));
    return assemble(found->info, found->pieces, offset, size,
                    [&](const PieceMap::Piece& piece, uint64_t begin, uint8_t* out,
                        uint64_t count) -> Result<void> {
                      const Bytes& source = contents_[piece.source];
                      std::memcpy(out, source.data() + (begin - piece.source_begin), count);
                      return {};
                    });
  }

 private:
  struct Batch {
    uint64_t first = 0;
    uint32_t count = 0;
    Bytes bytes;
  };
  struct File {
    FileInfo info;
    PieceMap pieces;  // the source is an index into contents_
  };

  Result<const File*> find(FileId file) const {
    if (file.value < files_.size()) return &files_[file.value];
    return fail(ErrorKind::kMisuse, fmt::format("file {} was not added", file.value));
  }

  // The batch that still grows is decoded as far as it was asked for. A deque's elements stay
  // where they are while it grows, so that what was given out remains valid.
  Result<std::shared_ptr<const Event>> open_event(uint64_t index) {
    const uint64_t first = event_count_ - open_.count();
    if (!decoded_open_ || decoded_first_ != first) {
      decoded_open_ = std::make_shared<std::deque<Event>>();
      decoded_first_ = first;
      decoder_ = BatchDecoder();
    }
    while (index >= decoded_open_->size()) {
      RCHK_TRY_ASSIGN(decoded_open_->emplace_back(), decoder_.next(open_.bytes()));
    }
    return std::shared_ptr<const Event>(decoded_open_, &(*decoded_open_)[index]);
  }

  const RecordingInfo info_;
  mutable std::mutex mutex_;  // of what follows
  std::deque<Batch> batches_;
  BatchEncoder open_;
  uint64_t event_count_ = 0;
  TaskCount task_count_;
  TaskNames names_;
  std::deque<File> files_;  // by FileId
  std::deque<Bytes> contents_;
  RecentlyUsed<std::vector<Event>> cache_{kCachedBatches};
  std::shared_ptr<std::deque<Event>> decoded_open_;
  BatchDecoder decoder_;
  uint64_t decoded_first_ = 0;
};

EventLog::EventLog(RecordingInfo info) : impl_(std::make_unique<Impl>(std::move(info))) {}
EventLog::~EventLog() = default;

Result<FileId> EventLog::add_file(const FileInfo& info) { return impl_->add_file(info); }
Result<void> EventLog::add_file_range(FileId file, uint64_t offset_bytes, ByteView bytes) {
  return impl_->add_file_range(file, offset_bytes, bytes);
}
Result<EventNumber> EventLog::append(const Event& event) { return impl_->append(event); }
Result<void> EventLog::name_task(Tid tid, const std::string& name) {
  return impl_->name_task(tid, name);
}
Result<void> EventLog::flush() { return {}; }
Result<void> EventLog::close() { return {}; }

const RecordingInfo& EventLog::info() const { return impl_->info(); }
uint64_t EventLog::event_count() const { return impl_->event_count(); }
Result<std::shared_ptr<const Event>> EventLog::event(EventNumber number) {
  return impl_->event(number);
}
std::string EventLog::task_name(EventNumber event, Tid tid) const {
  return impl_->task_name(event, tid);
}
std::optional<TaskCount> EventLog::task_count() const { return impl_->task_count(); }
std::vector<FileInfo> EventLog::files() const { return impl_->files(); }
Result<FileInfo> EventLog::file_info(FileId file) const { return impl_->file_info(file); }
Result<Bytes> EventLog::file_bytes(FileId file, uint64_t offset_bytes, uint64_t size_bytes) {
  return impl_->file_bytes(file, offset_bytes, size_bytes);
}

}  // namespace rchk::trace
