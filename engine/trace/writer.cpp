#include "engine/trace/writer.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <ctime>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "engine/trace/chunk.h"
#include "engine/trace/codec.h"
#include "engine/trace/index.h"
#include "engine/trace/piece_map.h"
#include "engine/trace/snapshot_writer.h"
#include "snapshot/memory_cost.h"

namespace rchk::trace {
namespace {

// Steps of some milliseconds, without RDTSC: a recorder makes it trap in its own thread.
struct CoarseClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<CoarseClock>;
  static constexpr bool is_steady = true;
  static time_point now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
    return time_point(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
  }
};

// Processor time of the calling thread.
uint64_t thread_time_ns() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

// How long an event may wait in a batch before it is written.
constexpr std::chrono::milliseconds kLongestWait(100);

// How much may wait to be written before the recording waits for it.
constexpr uint64_t kQueueBytes = 64 << 20;

// What the worker is to compress and write: a chunk, a snapshot, or that a space has ended.
struct Draft {
  ChunkHeader header;
  Bytes raw;
  std::optional<Snapshot> snapshot{};
  PageDelta delta{};
  std::optional<uint32_t> ended_space{};

  uint64_t size_bytes() const {
    uint64_t bytes = raw.size();
    for (const snapshot::PageRun& run : delta.pages) bytes += run.bytes.size();
    return bytes;
  }
};

// Contents of pages for differences to be made from.
uint64_t page_budget_bytes() {
  constexpr uint64_t kMost = 512 << 20;
  return std::min(kMost, snapshot::usable_memory_bytes() / 16);
}

// The file, written from front to back by one thread at a time.
class Output final : public ChunkOutput {
 public:
  Output(FileDescriptor file, std::string path, uint64_t recording_id)
      : file_(std::move(file)), path_(std::move(path)), encoder_(recording_id) {}

  Result<void> begin(uint64_t recording_id) {
    FileHeader header;
    std::memcpy(header.magic, FileHeader::kMagic, sizeof header.magic);
    header.major_version = kMajorVersion;
    header.minor_version = kMinorVersion;
    header.recording_id = recording_id;
    header.xxh3 = header_checksum(header);
    RCHK_TRY(write({reinterpret_cast<const uint8_t*>(kFrontText.data()), kFrontText.size()}));
    offset_ = kFrontBytes;
    return write({reinterpret_cast<const uint8_t*>(&header), sizeof header});
  }

  Result<void> chunk(ChunkHeader header, ByteView raw) override {
    return chunk(header, raw, Encoding::kZstd);
  }
  Result<void> chunk(ChunkHeader header, ByteView raw, Encoding encoding) {
    const uint64_t offset = offset_;
    RCHK_TRY(write(encoder_.encode(header, raw, encoding)));
    index_.push_back(IndexEntry::of(header, offset));
    return {};
  }

  Result<void> end(const TaskCount& task_count) {
    ChunkHeader tasks;
    tasks.type = static_cast<uint16_t>(ChunkType::kTaskCount);
    RCHK_TRY(chunk(tasks, encode_task_count(task_count)));
    const uint64_t index_offset = offset_;
    ChunkHeader index;
    index.type = static_cast<uint16_t>(ChunkType::kIndex);
    RCHK_TRY(chunk(index, encode_index(index_)));
    ChunkHeader trailer;
    trailer.type = static_cast<uint16_t>(ChunkType::kEnd);
    trailer.key = index_offset;
    return chunk(trailer, {}, Encoding::kStored);
  }

 private:
  Result<void> write(ByteView bytes) {
    while (!bytes.empty()) {
      const ssize_t count =
          pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset_));
      if (count < 0) {
        if (errno == EINTR) continue;
        return fail_errno(fmt::format("writing {}", path_));
      }
      bytes = bytes.subspan(static_cast<size_t>(count));
      offset_ += static_cast<uint64_t>(count);
    }
    return {};
  }

  FileDescriptor file_;
  std::string path_;
  ChunkEncoder encoder_;
  uint64_t offset_ = 0;
  std::vector<IndexEntry> index_;
};

}  // namespace

class TraceWriter::Impl {
 public:
  Impl(FileDescriptor file, const std::string& path, uint64_t recording_id)
      : output_(std::move(file), path, recording_id), snapshots_(output_, page_budget_bytes()) {}

  Result<void> begin(uint64_t recording_id, const RecordingInfo& info) {
    RCHK_TRY(output_.begin(recording_id));
    ChunkHeader header;
    header.type = static_cast<uint16_t>(ChunkType::kInfo);
    RCHK_TRY(output_.chunk(header, encode_info(info)));
    // The worker must not be the thread that takes the recorder's signals.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    worker_ = std::thread([this] { work(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return {};
  }

  ~Impl() {
    if (worker_.joinable()) {
      std::unique_lock lock(mutex_);
      if (!failure_) seal_batch(lock);
      lock.unlock();
      stop_worker();
    }
  }

  Result<FileId> add_file(const FileInfo& given) {
    std::unique_lock lock(mutex_);
    RCHK_TRY(ready(lock));
    FileInfo info = given;
    info.id.value = static_cast<uint32_t>(files_.size());
    files_.emplace_back();
    Draft draft;
    draft.header.type = static_cast<uint16_t>(ChunkType::kFileInfo);
    draft.header.label = info.id.value;
    draft.raw = encode_file_info(info);
    push(lock, std::move(draft));
    return info.id;
  }

  Result<void> add_file_range(FileId file, uint64_t offset, ByteView bytes) {
    std::unique_lock lock(mutex_);
    RCHK_TRY(ready(lock));
    if (file.value >= files_.size()) {
      return fail(ErrorKind::kMisuse, fmt::format("file {} was not added", file.value));
    }
    for (const PieceMap::Piece& piece : files_[file.value].add(offset, offset + bytes.size(), 0)) {
      for (uint64_t at = piece.begin; at < piece.end; at += kFilePieceBytes) {
        const uint64_t size = std::min(kFilePieceBytes, piece.end - at);
        const ByteView part = bytes.subspan(at - offset, size);
        Draft draft;
        draft.header.type = static_cast<uint16_t>(ChunkType::kFileContents);
        draft.header.label = file.value;
        draft.header.key = at;
        draft.raw.assign(part.begin(), part.end());
        push(lock, std::move(draft));
      }
    }
    return {};
  }

  Result<EventNumber> append(const Event& event) {
    std::unique_lock lock(mutex_);
    RCHK_TRY(ready(lock));
    if (batch_.count() == 0) batch_begun_ = CoarseClock::now();
    batch_.add(event);
    task_count_.add(event);
    if (batch_.size_bytes() > kMaxChunkBytes) {
      failure_ = Error{ErrorKind::kUnsupported, 0,
                       fmt::format("event {}: too large to be recorded", event_count_)};
      return Failure(*failure_);
    }
    const EventNumber number{event_count_++};
    if (batch_.size_bytes() >= kBatchBytes || batch_.count() >= kBatchEvents) seal_batch(lock);
    return number;
  }

  Result<void> add_snapshot(Snapshot snapshot, PageDelta delta) {
    std::unique_lock lock(mutex_);
    RCHK_TRY(ready(lock));
    if (event_count_ == 0) return fail(ErrorKind::kMisuse, "a snapshot in front of all events");
    snapshot.event = {event_count_ - 1};
    // Behind the events in front of it, also in the file.
    seal_batch(lock);
    Draft draft;
    draft.snapshot = std::move(snapshot);
    draft.delta = std::move(delta);
    push(lock, std::move(draft));
    return {};
  }

  uint64_t snapshot_work_ns(uint32_t space) const {
    const std::unique_lock lock(mutex_);
    const auto known = snapshot_work_ns_.find(space);
    return known == snapshot_work_ns_.end() ? 0 : known->second;
  }

  Result<void> end_space(uint32_t space) {
    std::unique_lock lock(mutex_);
    RCHK_TRY(ready(lock));
    Draft draft;
    draft.ended_space = space;
    push(lock, std::move(draft));
    return {};
  }

  Result<void> flush() {
    std::unique_lock lock(mutex_);
    RCHK_TRY(ready(lock));
    seal_batch(lock);
    drained_.wait(lock, [&] { return (queue_.empty() && !busy_) || failure_; });
    return ready(lock);
  }

  Result<void> close() {
    RCHK_TRY(flush());
    stop_worker();
    std::unique_lock lock(mutex_);
    closed_ = true;
    return output_.end(task_count_);
  }

 private:
  // REQUIRES for all of these: the mutex is held.
  Result<void> ready(const std::unique_lock<std::mutex>&) const {
    if (failure_) return Failure(*failure_);
    if (closed_) return fail(ErrorKind::kMisuse, "the recording is closed");
    return {};
  }

  void push(std::unique_lock<std::mutex>& lock, Draft draft) {
    room_.wait(lock, [&] { return queued_bytes_ < kQueueBytes || failure_; });
    queued_bytes_ += draft.size_bytes();
    queue_.push_back(std::move(draft));
    work_.notify_one();
  }

  void seal_batch(std::unique_lock<std::mutex>& lock) {
    if (batch_.count() == 0) return;
    push(lock, take_batch());
  }

  Draft take_batch() {
    Draft draft;
    draft.header.type = static_cast<uint16_t>(ChunkType::kEvents);
    draft.header.label = batch_.count();
    draft.header.key = event_count_ - batch_.count();
    draft.raw = batch_.take();
    return draft;
  }

  bool batch_is_due() const {
    return batch_.count() != 0 && CoarseClock::now() - batch_begun_ >= kLongestWait;
  }

  void work() {
    std::unique_lock lock(mutex_);
    while (!failure_) {
      if (queue_.empty()) {
        if (stopping_) break;
        // Without notice: a batch may have become due.
        work_.wait_for(lock, kLongestWait, [&] { return !queue_.empty() || stopping_; });
        if (queue_.empty() && batch_is_due()) queue_.push_back(take_counted_batch());
        continue;
      }
      Draft draft = std::move(queue_.front());
      queue_.pop_front();
      const uint64_t size_bytes = draft.size_bytes();
      busy_ = true;
      lock.unlock();
      const uint64_t begin_ns = thread_time_ns();
      const Result<void> written = write(draft);
      const uint64_t work_ns = thread_time_ns() - begin_ns;
      lock.lock();
      if (draft.snapshot) snapshot_work_ns_[draft.snapshot->image.space] += work_ns;
      if (draft.ended_space) snapshot_work_ns_.erase(*draft.ended_space);
      busy_ = false;
      queued_bytes_ -= size_bytes;
      if (!written) failure_ = written.error();
      room_.notify_all();
      if (queue_.empty() || failure_) drained_.notify_all();
    }
  }

  // REQUIRES: the mutex is not held.
  Result<void> write(Draft& draft) {
    if (draft.snapshot) return snapshots_.add(*draft.snapshot, draft.delta);
    if (draft.ended_space) {
      snapshots_.end_space(*draft.ended_space);
      return {};
    }
    return output_.chunk(draft.header, draft.raw);
  }

  Draft take_counted_batch() {
    Draft draft = take_batch();
    queued_bytes_ += draft.raw.size();
    return draft;
  }

  void stop_worker() {
    {
      std::unique_lock lock(mutex_);
      stopping_ = true;
      work_.notify_all();
    }
    worker_.join();
  }

  mutable std::mutex mutex_;
  std::condition_variable work_;     // there is a draft, or the worker is to stop
  std::condition_variable room_;     // the queue became shorter
  std::condition_variable drained_;  // the queue became empty
  std::deque<Draft> queue_;
  uint64_t queued_bytes_ = 0;  // of the queue and what the worker holds
  bool busy_ = false;
  bool stopping_ = false;
  bool closed_ = false;
  std::optional<Error> failure_;
  std::map<uint32_t, uint64_t> snapshot_work_ns_;  // by space

  BatchEncoder batch_;
  CoarseClock::time_point batch_begun_;
  uint64_t event_count_ = 0;
  TaskCount task_count_;
  std::vector<PieceMap> files_;  // by FileId

  // The worker's while it runs.
  Output output_;
  SnapshotWriter snapshots_;
  std::thread worker_;
};

TraceWriter::TraceWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TraceWriter::~TraceWriter() = default;

Result<std::unique_ptr<TraceWriter>> TraceWriter::create(const std::string& path,
                                                         const RecordingInfo& info) {
  uint64_t recording_id = 0;
  if (getrandom(&recording_id, sizeof recording_id, 0) != sizeof recording_id) {
    return fail_errno("getrandom");
  }
  // A recording holds whatever the program had in memory, like a core file: the owner's alone.
  FileDescriptor file(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.is_open()) return Failure(Error{ErrorKind::kMisuse, errno, path});
  auto impl = std::make_unique<Impl>(std::move(file), path, recording_id);
  RCHK_TRY(impl->begin(recording_id, info));
  return std::unique_ptr<TraceWriter>(new TraceWriter(std::move(impl)));
}

Result<FileId> TraceWriter::add_file(const FileInfo& info) { return impl_->add_file(info); }
Result<void> TraceWriter::add_file_range(FileId file, uint64_t offset_bytes, ByteView bytes) {
  return impl_->add_file_range(file, offset_bytes, bytes);
}
Result<EventNumber> TraceWriter::append(const Event& event) { return impl_->append(event); }
Result<void> TraceWriter::add_snapshot(Snapshot snapshot, PageDelta delta) {
  return impl_->add_snapshot(std::move(snapshot), std::move(delta));
}
uint64_t TraceWriter::snapshot_work_ns(uint32_t space) const {
  return impl_->snapshot_work_ns(space);
}
Result<void> TraceWriter::end_space(uint32_t space) { return impl_->end_space(space); }
Result<void> TraceWriter::flush() { return impl_->flush(); }
Result<void> TraceWriter::close() { return impl_->close(); }

}  // namespace rchk::trace
