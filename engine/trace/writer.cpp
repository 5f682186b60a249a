#include "engine/trace/writer.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <ctime>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "engine/trace/census.h"
#include "engine/trace/chunk.h"
#include "engine/trace/coarse_clock.h"
#include "engine/trace/codec.h"
#include "engine/trace/generations.h"
#include "engine/trace/index.h"
#include "engine/trace/output.h"
#include "engine/trace/piece_map.h"
#include "engine/trace/snapshot_writer.h"
#include "snapshot/memory_cost.h"

namespace rchk::trace {
namespace {

// Processor time of the calling thread.
uint64_t thread_time_ns() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

// How long an event may wait in a batch before it is written.
constexpr std::chrono::milliseconds kLongestWait(100);

// How much may wait to be written before the recording waits for it; no more than some part of
// what is to be kept, which grows by that before anything can be dropped.
constexpr uint64_t kQueueBytes = 64 << 20;
constexpr uint64_t kSmallestQueueBytes = 1 << 20;
constexpr uint64_t kQueuePart = 16;

uint64_t queue_bytes(const Keep& keep) {
  if (!keep.size_bytes) return kQueueBytes;
  return std::clamp(*keep.size_bytes / kQueuePart, kSmallestQueueBytes, kQueueBytes);
}

// A space that begins as a copy of another.
struct Fork {
  uint32_t space = 0;
  uint32_t parent = 0;
};

struct Save {
  std::string path;
  Census census;
  std::promise<Result<void>> done;
};

// What the worker is to compress and write: a chunk, a snapshot, or that a space has begun or
// ended.
struct Draft {
  ChunkHeader header;
  Bytes raw;
  std::optional<Snapshot> snapshot{};
  PageDelta delta{};
  std::optional<Fork> fork{};
  std::optional<uint32_t> ended_space{};
  std::vector<KeptProcess> beginning{};
  bool front_stays = false;         // of the recording, in front of the beginning
  std::set<uint32_t> files{};       // that a beginning needs
  std::vector<TaskName> names{};    // in a beginning
  std::shared_ptr<Save> save = {};  // a copy is to be made

  uint64_t size_bytes() const {
    uint64_t bytes = raw.size();
    for (const snapshot::PageRun& run : delta.pages) bytes += run.bytes.size();
    for (const KeptProcess& process : beginning) {
      for (const snapshot::PageRun& run : process.delta.pages) bytes += run.bytes.size();
    }
    return bytes;
  }
};

// Contents of pages for differences to be made from.
uint64_t page_budget_bytes() {
  constexpr uint64_t kMost = 512 << 20;
  return std::min(kMost, snapshot::usable_memory_bytes() / 16);
}

}  // namespace

class TraceWriter::Impl {
 public:
  Impl(FileDescriptor file, const std::string& path, uint64_t recording_id, WriterOptions options)
      : most_queued_bytes_(queue_bytes(options.keep)),
        output_(std::move(file), path, recording_id),
        snapshots_(output_, page_budget_bytes()),
        generations_(output_, std::move(options)) {}

  Result<void> begin(const RecordingInfo& info) {
    RCHK_TRY(output_.begin());
    RCHK_TRY(generations_.begin());
    info_ = encode_info(info);
    RCHK_TRY(write_info());
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
    info.id.value = next_file_++;
    files_[info.id.value];
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
    const auto known = files_.find(file.value);
    if (known == files_.end()) {
      return fail(ErrorKind::kMisuse, fmt::format("file {} was not added", file.value));
    }
    for (const PieceMap::Piece& piece : known->second.add(offset, offset + bytes.size(), 0)) {
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
    census_.add(event);
    if (batch_.size_bytes() > kMaxChunkBytes) {
      failure_ = Error{ErrorKind::kUnsupported, 0,
                       fmt::format("event {}: too large to be recorded", event_count_)};
      return Failure(*failure_);
    }
    const EventNumber number{event_count_++};
    if (batch_.size_bytes() >= kBatchBytes || batch_.count() >= kBatchEvents) seal_batch(lock);
    const auto* const spawn = std::get_if<SpawnEvent>(&event.body);
    if (spawn != nullptr && spawn->kind == SpawnKind::kFork) {
      Draft draft;
      draft.fork = Fork{event.space, spawn->parent_space};
      push(lock, std::move(draft));
    }
    return number;
  }

  Result<void> name_task(Tid tid, const std::string& name) {
    std::unique_lock lock(mutex_);
    RCHK_TRY(ready(lock));
    if (event_count_ == 0) return fail(ErrorKind::kMisuse, "a name in front of all events");
    fresh_names_.push_back({{event_count_ - 1}, tid, name});
    if (!generations_.keeps_everything()) names_[tid] = name;
    return {};
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
    ++snapshot_work_[draft.snapshot->image.space].waiting;
    push(lock, std::move(draft));
    return {};
  }

  SnapshotWork snapshot_work(uint32_t space) const {
    const std::unique_lock lock(mutex_);
    const auto known = snapshot_work_.find(space);
    return known == snapshot_work_.end() ? SnapshotWork() : known->second;
  }

  bool wants_beginning() const { return generations_.wants_another(); }

  Result<void> begin_anew(std::vector<KeptProcess> processes) {
    std::unique_lock lock(mutex_);
    RCHK_TRY(ready(lock));
    if (processes.empty()) return fail(ErrorKind::kMisuse, "a beginning without any process");
    seal_batch(lock);
    generations_.expect_another();
    Draft draft;
    for (const KeptProcess& process : processes) {
      for (const Mapping& mapping : std::get<ExecEvent>(process.event.body).mappings) {
        if (mapping.backing) draft.files.insert(mapping.backing->file.value);
      }
    }
    std::erase_if(files_, [&](const auto& item) { return draft.files.count(item.first) == 0; });
    draft.names = keep_names_of(processes);
    census_.begin_anew(processes);
    draft.header.key = event_count_;
    draft.beginning = std::move(processes);
    push(lock, std::move(draft));
    return {};
  }

  Result<void> add_beginning(std::vector<KeptProcess> processes) {
    std::unique_lock lock(mutex_);
    RCHK_TRY(ready(lock));
    if (processes.empty()) return fail(ErrorKind::kMisuse, "a beginning without any process");
    seal_batch(lock);
    Draft draft;
    draft.front_stays = true;
    draft.header.key = event_count_;
    draft.beginning = std::move(processes);
    ++beginning_work_.waiting;
    push(lock, std::move(draft));
    return {};
  }

  SnapshotWork beginning_work() const {
    const std::unique_lock lock(mutex_);
    return beginning_work_;
  }

  Result<void> save(const std::string& path) {
    std::unique_lock lock(mutex_);
    RCHK_TRY(ready(lock));
    if (event_count_ == 0) return fail(ErrorKind::kMisuse, "nothing was recorded yet");
    // At once: the copy is to have what its notes say, and the program runs on. Room is not waited
    // for: what is recorded would take it each time where the disk is slow.
    enqueue_open();
    Draft draft;
    draft.save = std::make_shared<Save>();
    draft.save->path = path;
    draft.save->census = census_;
    std::future<Result<void>> done = draft.save->done.get_future();
    enqueue(std::move(draft));
    lock.unlock();
    return done.get();
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
    return drain(lock);
  }

  Result<void> close() {
    {
      std::unique_lock lock(mutex_);
      RCHK_TRY(drain(lock));
      closed_ = true;  // for save(), which other threads call: nobody would do it any more
    }
    stop_worker();
    return output_.end(census_.notes_from(generations_.first_event()));
  }

 private:
  // REQUIRES for all of these: the mutex is held.
  Result<void> ready(const std::unique_lock<std::mutex>&) const {
    if (failure_) return Failure(*failure_);
    if (closed_) return fail(ErrorKind::kMisuse, "the recording is closed");
    return {};
  }

  Result<void> drain(std::unique_lock<std::mutex>& lock) {
    RCHK_TRY(ready(lock));
    seal_batch(lock);
    drained_.wait(lock, [&] { return (queue_.empty() && !busy_) || failure_; });
    return ready(lock);
  }

  // Lets go of the mutex meanwhile.
  void wait_for_room(std::unique_lock<std::mutex>& lock) {
    room_.wait(lock, [&] { return queued_bytes_ < most_queued_bytes_ || failure_; });
  }

  void enqueue(Draft draft) {
    queued_bytes_ += draft.size_bytes();
    queue_.push_back(std::move(draft));
    work_.notify_one();
  }

  void push(std::unique_lock<std::mutex>& lock, Draft draft) {
    wait_for_room(lock);
    if (failure_) return give_up(draft);
    enqueue(std::move(draft));
  }

  // What the census has in batches is in the queue, whenever another thread looks.
  void seal_batch(std::unique_lock<std::mutex>& lock) {
    if (batch_.count() == 0 && fresh_names_.empty()) return;
    wait_for_room(lock);
    if (!failure_) enqueue_open();
  }

  // What is in no draft yet.
  void enqueue_open() {
    if (batch_.count() != 0) enqueue(take_batch());
    if (!fresh_names_.empty()) enqueue(names_draft(std::exchange(fresh_names_, {})));
  }

  // Those that go on; what is called so since before is so at a beginning.
  std::vector<TaskName> keep_names_of(const std::vector<KeptProcess>& processes) {
    std::set<Tid> tasks;
    for (const KeptProcess& process : processes) {
      tasks.insert(process.event.tid);
      for (const WaitingTask& other : process.resumed.others) tasks.insert(other.tid);
    }
    std::erase_if(names_, [&](const auto& item) { return tasks.count(item.first) == 0; });
    std::vector<TaskName> kept;
    for (const auto& [tid, name] : names_) kept.push_back({{event_count_}, tid, name});
    return kept;
  }

  static Draft names_draft(const std::vector<TaskName>& names) {
    Draft draft;
    draft.header.type = static_cast<uint16_t>(ChunkType::kTaskNames);
    draft.raw = encode_task_names(names);
    return draft;
  }

  Draft take_batch() {
    Draft draft;
    draft.header.type = static_cast<uint16_t>(ChunkType::kEvents);
    draft.header.label = batch_.count();
    draft.header.key = event_count_ - batch_.count();
    draft.header.version = batch_.version();
    draft.raw = batch_.take(std::move(spare_));
    census_.end_batch();
    return draft;
  }

  static bool is_batch(const Draft& draft) {
    return draft.header.type == static_cast<uint16_t>(ChunkType::kEvents);
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
        if (queue_.empty() && batch_is_due()) enqueue_open();
        if (queue_.empty()) keep(lock);
        continue;
      }
      Draft draft = std::move(queue_.front());
      queue_.pop_front();
      const uint64_t size_bytes = draft.size_bytes();
      busy_ = true;
      lock.unlock();
      const uint64_t begin_ns = thread_time_ns(), begin_offset = output_.offset();
      const Result<void> written = write(draft);
      const uint64_t work_ns = thread_time_ns() - begin_ns;
      const uint64_t work_bytes = output_.offset() - begin_offset;
      lock.lock();
      SnapshotWork* work = draft.front_stays ? &beginning_work_ : nullptr;
      if (draft.snapshot) work = &snapshot_work_[draft.snapshot->image.space];
      if (work != nullptr) {
        work->ns += work_ns;
        work->bytes += work_bytes;
        --work->waiting;
      }
      if (draft.ended_space) snapshot_work_.erase(*draft.ended_space);
      if (is_batch(draft) && draft.raw.capacity() <= 2 * kBatchBytes) spare_ = std::move(draft.raw);
      if (!written) failure_ = written.error();
      if (!failure_) keep(lock);
      busy_ = false;
      queued_bytes_ -= size_bytes;
      room_.notify_all();
      if (queue_.empty() || failure_) drained_.notify_all();
    }
    for (Draft& draft : queue_) give_up(draft);
  }

  // Nobody is to wait for what will not be made. REQUIRES: the worker has failed.
  void give_up(Draft& draft) const {
    draft.delta = {};
    if (draft.save) draft.save->done.set_value(Failure(*failure_));
  }

  // Drops what is not to be kept. REQUIRES: the mutex is held; lets go of it.
  void keep(std::unique_lock<std::mutex>& lock) {
    if (generations_.keeps_everything()) return;
    lock.unlock();
    const Result<void> kept = generations_.judge();
    lock.lock();
    if (!kept) failure_ = kept.error();
    census_.drop_before(generations_.first_event());
  }

  // REQUIRES: the mutex is not held.
  Result<void> write(Draft& draft) {
    if (draft.snapshot) return snapshots_.add(*draft.snapshot, std::move(draft.delta));
    if (draft.fork) {
      snapshots_.begin_fork(draft.fork->space, draft.fork->parent);
      return {};
    }
    if (draft.ended_space) {
      snapshots_.end_space(*draft.ended_space);
      return {};
    }
    if (draft.front_stays) {
      RCHK_TRY_ASSIGN(const Beginning beginning,
                      snapshots_.add_beginning(std::move(draft.beginning)));
      return write_beginning_chunk(beginning, draft.header.key);
    }
    if (!draft.beginning.empty()) return write_beginning(draft);
    if (draft.save) {
      const EndNotes notes = draft.save->census.notes_from(generations_.first_event());
      draft.save->done.set_value(output_.save(draft.save->path, notes));
      return {};
    }
    RCHK_TRY_ASSIGN(const IndexEntry written, output_.chunk(draft.header, draft.raw));
    if (written.chunk_type() == ChunkType::kFileInfo) file_chunks_[written.label] = {written, {}};
    if (written.chunk_type() == ChunkType::kFileContents) {
      file_chunks_.at(written.label).contents.push_back(written);
    }
    return {};
  }

  Result<void> write_info() {
    ChunkHeader header;
    header.type = static_cast<uint16_t>(ChunkType::kInfo);
    RCHK_TRY(output_.chunk(header, info_));
    return {};
  }

  // All that is needed of what is in front of it, then the beginning itself.
  Result<void> write_beginning(Draft& draft) {
    const Generations::Section section(generations_, draft.header.key);
    RCHK_TRY(write_info());
    for (auto file = file_chunks_.begin(); file != file_chunks_.end();) {
      if (draft.files.count(file->first) == 0) {
        file = file_chunks_.erase(file);
        continue;
      }
      RCHK_TRY_ASSIGN(file->second.info, output_.repeat(file->second.info));
      for (IndexEntry& contents : file->second.contents) {
        RCHK_TRY_ASSIGN(contents, output_.repeat(contents));
      }
      ++file;
    }
    RCHK_TRY_ASSIGN(const Beginning beginning, snapshots_.begin_anew(std::move(draft.beginning)));
    RCHK_TRY(write_beginning_chunk(beginning, draft.header.key));
    if (draft.names.empty()) return {};
    Draft names = names_draft(draft.names);
    return write(names);
  }

  Result<void> write_beginning_chunk(const Beginning& beginning, uint64_t next_event) {
    ChunkHeader header;
    header.type = static_cast<uint16_t>(ChunkType::kBeginning);
    header.label = static_cast<uint32_t>(beginning.processes.size());
    header.key = next_event;
    RCHK_TRY(output_.chunk(header, encode_beginning(beginning)));
    return {};
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
  const uint64_t most_queued_bytes_;
  uint64_t queued_bytes_ = 0;  // of the queue and what the worker holds
  bool busy_ = false;
  bool stopping_ = false;
  bool closed_ = false;
  std::optional<Error> failure_;
  std::map<uint32_t, SnapshotWork> snapshot_work_;  // by space
  SnapshotWork beginning_work_;

  BatchEncoder batch_;
  Bytes spare_;  // memory for the next one
  CoarseClock::time_point batch_begun_;
  uint64_t event_count_ = 0;
  std::vector<TaskName> fresh_names_;  // that are in no chunk yet
  std::map<Tid, std::string> names_;   // where history is dropped: of all tasks, now
  Census census_;
  uint32_t next_file_ = 0;
  std::map<uint32_t, PieceMap> files_;  // by FileId; since the last beginning those that it needs

  // The worker's while it runs.
  struct FileChunks {
    IndexEntry info;
    std::vector<IndexEntry> contents;
  };
  Output output_;
  SnapshotWriter snapshots_;
  Generations generations_;
  Bytes info_;
  std::map<uint32_t, FileChunks> file_chunks_;  // by FileId
  std::thread worker_;
};

TraceWriter::TraceWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TraceWriter::~TraceWriter() = default;

Result<std::unique_ptr<TraceWriter>> TraceWriter::create(const std::string& path,
                                                         const RecordingInfo& info,
                                                         WriterOptions options) {
  uint64_t recording_id = 0;
  if (getrandom(&recording_id, sizeof recording_id, 0) != sizeof recording_id) {
    return fail_errno("getrandom");
  }
  // A recording holds whatever the program had in memory, like a core file: the owner's alone.
  FileDescriptor file(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.is_open()) return Failure(Error{ErrorKind::kMisuse, errno, path});
  auto impl = std::make_unique<Impl>(std::move(file), path, recording_id, std::move(options));
  RCHK_TRY(impl->begin(info));
  return std::unique_ptr<TraceWriter>(new TraceWriter(std::move(impl)));
}

Result<FileId> TraceWriter::add_file(const FileInfo& info) { return impl_->add_file(info); }
Result<void> TraceWriter::add_file_range(FileId file, uint64_t offset_bytes, ByteView bytes) {
  return impl_->add_file_range(file, offset_bytes, bytes);
}
Result<EventNumber> TraceWriter::append(const Event& event) { return impl_->append(event); }
Result<void> TraceWriter::name_task(Tid tid, const std::string& name) {
  return impl_->name_task(tid, name);
}
Result<void> TraceWriter::add_snapshot(Snapshot snapshot, PageDelta delta) {
  return impl_->add_snapshot(std::move(snapshot), std::move(delta));
}
SnapshotWork TraceWriter::snapshot_work(uint32_t space) const {
  return impl_->snapshot_work(space);
}
bool TraceWriter::wants_beginning() const { return impl_->wants_beginning(); }
Result<void> TraceWriter::begin_anew(std::vector<KeptProcess> processes) {
  return impl_->begin_anew(std::move(processes));
}
Result<void> TraceWriter::add_beginning(std::vector<KeptProcess> processes) {
  return impl_->add_beginning(std::move(processes));
}
SnapshotWork TraceWriter::beginning_work() const { return impl_->beginning_work(); }
Result<void> TraceWriter::save(const std::string& path) { return impl_->save(path); }
Result<void> TraceWriter::end_space(uint32_t space) { return impl_->end_space(space); }
Result<void> TraceWriter::flush() { return impl_->flush(); }
Result<void> TraceWriter::close() { return impl_->close(); }

}  // namespace rchk::trace
