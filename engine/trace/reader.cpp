#include "engine/trace/reader.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>

#include <fcntl.h>

#include "engine/trace/annotate.h"
#include "engine/trace/codec.h"
#include "engine/trace/container.h"
#include "engine/trace/piece_map.h"
#include "engine/trace/process_map.h"
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
    const std::vector<IndexEntry>& chunks = container_.chunks();
    is_cut_ = !chunks.empty() && chunks.front().chunk_type() == ChunkType::kDropped;
    const size_t first = is_cut_ ? 1 : 0;
    for (size_t i = first; i < chunks.size(); ++i) {
      if (i == first && chunks[i].chunk_type() != ChunkType::kInfo) {
        return container_.bad(chunks[i].offset, "the recording's facts are not its first chunk");
      }
      RCHK_TRY(take_in(chunks[i], i));
    }
    if (chunks.size() == first || (is_cut_ && resumed_.empty())) {
      return fail(ErrorKind::kBadTrace, fmt::format("{}: a recording that ends before its first "
                                                    "event",
                                                    container_.name()));
    }
    return read_processes();
  }

  using Dropped = EventSource::Dropped;

  const RecordingInfo& info() const { return info_; }
  const Container& container() const { return container_; }
  uint64_t event_count() const { return event_count_; }
  const std::optional<TaskCount>& task_count() const { return task_count_; }
  const ProcessMap* process_map() const { return process_map_ ? &*process_map_ : nullptr; }
  uint64_t batches_loaded() const { return batches_loaded_.load(std::memory_order_relaxed); }
  std::vector<FileInfo> files() const {
    std::vector<FileInfo> all;
    for (const auto& [id, file] : files_) all.push_back(file.info);
    return all;
  }
  std::optional<Dropped> dropped() const {
    if (!is_cut_) return std::nullopt;
    return Dropped{first_event_, resumed_.front()->time_ns};
  }
  SnapshotReader& snapshots() { return snapshots_; }

  const std::vector<Bookmark>& bookmarks() const { return bookmarks_; }
  std::string task_name(EventNumber event, Tid tid) const {
    const uint64_t front = std::min<uint64_t>(event.value, resumed_.size());
    return names_.at({event.value - front + first_event_}, tid);
  }
  Result<void> add_bookmark(const Bookmark& bookmark) {
    ChunkHeader header;
    header.type = static_cast<uint16_t>(ChunkType::kBookmark);
    RCHK_TRY(append_chunk(container_.name(), header, encode_bookmark(bookmark)));
    bookmarks_.push_back(bookmark);
    return {};
  }

  Result<std::shared_ptr<const Event>> event(EventNumber number) {
    if (number.value >= event_count_) {
      return fail(ErrorKind::kMisuse, fmt::format("event {} was asked for; the recording has {}",
                                                  number, event_count_));
    }
    if (number.value < resumed_.size()) {
      return resumed_[number.value];
    }
    const uint64_t key = number.value - resumed_.size() + first_event_;  // in the whole recording
    const auto next =
        std::upper_bound(batches_.begin(), batches_.end(), key,
                         [](uint64_t value, const IndexEntry& batch) { return value < batch.key; });
    const IndexEntry& batch = *std::prev(next);
    const auto load = [&]() -> Result<std::vector<Event>> { return load_batch(batch); };
    std::lock_guard lock(mutex_);
    RCHK_TRY_ASSIGN(const auto events, batch_cache_.get(batch.key, load));
    return std::shared_ptr<const Event>(events, &(*events)[key - batch.key]);
  }

  Result<FileInfo> file_info(FileId file) const {
    const auto found = files_.find(file.value);
    if (found == files_.end()) {
      return fail(ErrorKind::kBadTrace,
                  fmt::format("{}: has no file {}", container_.name(), file.value));
    }
    return found->second.info;
  }

  Result<Bytes> file_bytes(FileId file, uint64_t offset, uint64_t size) {
    RCHK_TRY_ASSIGN(const FileInfo info, file_info(file));
    std::lock_guard lock(mutex_);
    return assemble(info, files_.at(file.value).pieces, offset, size,
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
    ProcessCheck check(resumed_);
    for (const IndexEntry& chunk : container_.chunks()) {
      switch (chunk.chunk_type()) {
        case ChunkType::kEvents: {
          RCHK_TRY_ASSIGN(const std::vector<Event> events, load_batch(chunk));
          check.add(events);
          continue;
        }
        case ChunkType::kProcesses: {
          RCHK_TRY_ASSIGN(const Buffer raw, container_.load(chunk, decoder_));
          if (!check.agrees_with(raw.view())) {
            return container_.bad(chunk.offset, "the list of processes is not what the events say");
          }
          continue;
        }
        case ChunkType::kInfo:
        case ChunkType::kFileInfo:
        case ChunkType::kFileContents:
        case ChunkType::kTaskCount:
        case ChunkType::kPages:
        case ChunkType::kSnapshot:
        case ChunkType::kPageDirectory:
        case ChunkType::kBeginning:
        case ChunkType::kBookmark:
        case ChunkType::kTaskNames:
          RCHK_TRY(container_.load(chunk, decoder_));
          continue;
        case ChunkType::kDropped:  // a hole
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
  // What the list of processes has to say, told from the events.
  class ProcessCheck {
   public:
    explicit ProcessCheck(const std::vector<std::shared_ptr<const Event>>& resumed) {
      for (const auto& event : resumed) table_.add(*event);
    }
    void add(const std::vector<Event>& events) {
      ShareCounter counter;
      for (const Event& event : events) {
        can_be_ = can_be_ && table_.add(event);
        counter.add(event.space);
      }
      shares_.push_back(counter.take());
    }
    bool agrees_with(ByteView payload) const {
      return can_be_ && std::ranges::equal(encode_processes(table_, shares_), payload);
    }

   private:
    ProcessTable table_;
    bool can_be_ = true;
    std::vector<std::vector<SpaceShare>> shares_;
  };

  Result<void> take_in(const IndexEntry& chunk, size_t index) {
    switch (chunk.chunk_type()) {
      case ChunkType::kInfo: {
        // Repeated for each beginning.
        if (event_count_ > 0) return {};
        if (has_info_) {
          return container_.bad(chunk.offset, "the recording's facts are not its first chunk");
        }
        has_info_ = true;
        RCHK_TRY_ASSIGN(const Buffer raw, container_.load(chunk, decoder_));
        RCHK_TRY_ASSIGN(info_, decode_info(raw.view(), place_of(chunk), 0));
        return {};
      }
      case ChunkType::kEvents:
        if (is_cut_ && resumed_.empty()) {
          return container_.bad(chunk.offset, "events in front of a beginning");
        }
        if (chunk.key != next_event() || chunk.label == 0 || chunk.label > kMaxBatchEvents) {
          return container_.bad(chunk.offset,
                                fmt::format("{} events from number {} where number {} comes next",
                                            chunk.label, chunk.key, next_event()));
        }
        event_count_ += chunk.label;
        batches_.push_back(chunk);
        return {};
      case ChunkType::kFileInfo: {
        RCHK_TRY_ASSIGN(const Buffer raw, container_.load(chunk, decoder_));
        RCHK_TRY_ASSIGN(FileInfo info, decode_file_info(raw.view(), place_of(chunk), 0));
        // A beginning repeats the files that it needs; of others the numbers are left out.
        const bool is_known = files_.count(chunk.label) != 0;
        if (is_known && event_count_ > 0 && info.id.value == chunk.label) return {};
        const bool in_order = is_cut_ ? !is_known : chunk.label == files_.size();
        if (info.id.value != chunk.label || !in_order) {
          return container_.bad(chunk.offset, fmt::format("file {} where file {} comes next",
                                                          info.id.value, files_.size()));
        }
        files_[chunk.label].info = std::move(info);
        return {};
      }
      case ChunkType::kFileContents:
        if (files_.count(chunk.label) == 0) {
          return container_.bad(chunk.offset,
                                fmt::format("contents of the unknown file {}", chunk.label));
        }
        if (chunk.raw_bytes > kFilePieceBytes || chunk.key + chunk.raw_bytes < chunk.key) {
          return container_.bad(
              chunk.offset, fmt::format("{} bytes of a file at {}", chunk.raw_bytes, chunk.key));
        }
        files_.at(chunk.label).pieces.add(chunk.key, chunk.key + chunk.raw_bytes, index);
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
      case ChunkType::kBeginning:
        return take_in_beginning(chunk);
      case ChunkType::kBookmark: {
        RCHK_TRY_ASSIGN(const Buffer raw, container_.load(chunk, decoder_));
        RCHK_TRY_ASSIGN(Bookmark bookmark, decode_bookmark(raw.view(), place_of(chunk), 0));
        bookmarks_.push_back(std::move(bookmark));
        return {};
      }
      case ChunkType::kTaskNames: {
        RCHK_TRY_ASSIGN(const Buffer raw, container_.load(chunk, decoder_));
        RCHK_TRY_ASSIGN(const auto names, decode_task_names(raw.view(), place_of(chunk), 0));
        for (const TaskName& name : names) names_.add(name);
        return {};
      }
      case ChunkType::kProcesses:
        if (processes_) return container_.bad(chunk.offset, "a second list of processes");
        processes_ = chunk;
        return {};
      case ChunkType::kDropped:
      case ChunkType::kIndex:
      case ChunkType::kEnd:
        break;
    }
    // Of a later version: nothing that this one needs.
    return {};
  }

  // What is kept begins with the first one, where something was dropped. One with all of the
  // history in front of it is only what later page snapshots are differences to.
  Result<void> take_in_beginning(const IndexEntry& chunk) {
    RCHK_TRY(snapshots_.take_in(chunk));
    if (!is_cut_ || !resumed_.empty()) {
      if (chunk.key == next_event()) return {};
      return container_.bad(chunk.offset, fmt::format("a beginning at event {} where {} comes next",
                                                      chunk.key, next_event()));
    }
    RCHK_TRY_ASSIGN(const Buffer raw, container_.load(chunk, decoder_));
    RCHK_TRY_ASSIGN(Beginning beginning, decode_beginning(raw.view(), place_of(chunk), 0));
    first_event_ = chunk.key;
    event_count_ = beginning.processes.size();
    SnapshotReader::Numbers numbers{first_event_, event_count_, beginning.snapshots, {}};
    for (Event& event : beginning.processes) {
      numbers.programs.emplace_back(std::get<ExecEvent>(event.body).resumed->program.value,
                                    event.space);
      resumed_.push_back(std::make_shared<const Event>(std::move(event)));
    }
    snapshots_.count_from(std::move(numbers));
    return {};
  }

  Result<void> read_processes() {
    if (!processes_) return {};
    LogShape shape;
    for (const auto& event : resumed_) shape.resumed.push_back(event->space);
    for (const IndexEntry& batch : batches_) shape.batches.push_back(batch.label);
    RCHK_TRY_ASSIGN(const Buffer raw, container_.load(*processes_, decoder_));
    RCHK_TRY_ASSIGN(process_map_, decode_processes(raw.view(), shape, place_of(*processes_), 0));
    return {};
  }

  // In the whole recording.
  uint64_t next_event() const { return event_count_ - resumed_.size() + first_event_; }

  std::string place_of(const IndexEntry& chunk) const {
    return fmt::format("{}, in the chunk at {}", container_.name(), chunk.offset);
  }

  Result<std::vector<Event>> load_batch(const IndexEntry& batch) {
    batches_loaded_.fetch_add(1, std::memory_order_relaxed);
    RCHK_TRY_ASSIGN(const Buffer raw, container_.load(batch, decoder_));
    return decode_batch(raw.view(), batch.label, place_of(batch), 0);
  }

  Result<Buffer> load_piece(uint64_t index) {
    return container_.load(container_.chunks()[index], decoder_);
  }

  Container container_;
  SnapshotReader snapshots_{container_};
  struct File {
    FileInfo info;
    PieceMap pieces;  // the source is an index into the chunks
  };
  RecordingInfo info_;
  bool has_info_ = false;
  bool is_cut_ = false;  // older history was dropped
  // Then: the processes at the beginning of what is kept, and the number that the event behind
  // them had.
  std::vector<std::shared_ptr<const Event>> resumed_;
  uint64_t first_event_ = 0;
  uint64_t event_count_ = 0;
  std::optional<TaskCount> task_count_;
  std::optional<IndexEntry> processes_;
  std::optional<ProcessMap> process_map_;
  std::vector<Bookmark> bookmarks_;
  TaskNames names_;
  std::vector<IndexEntry> batches_;  // in order
  std::map<uint32_t, File> files_;   // by FileId

  std::mutex mutex_;  // of what follows
  ChunkDecoder decoder_;
  RecentlyUsed<std::vector<Event>> batch_cache_{kCachedBatches};
  std::atomic<uint64_t> batches_loaded_ = 0;
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
const ProcessMap* TraceReader::process_map() const { return impl_->process_map(); }
uint64_t TraceReader::batches_loaded() const { return impl_->batches_loaded(); }
std::optional<EventSource::Dropped> TraceReader::dropped() const { return impl_->dropped(); }
SnapshotSource* TraceReader::snapshots() {
  return impl_->snapshots().empty() ? nullptr : &impl_->snapshots();
}
uint64_t TraceReader::snapshots_stored_bytes() const { return impl_->snapshots().stored_bytes(); }
std::string TraceReader::task_name(EventNumber event, Tid tid) const {
  return impl_->task_name(event, tid);
}
std::vector<Bookmark> TraceReader::bookmarks() const { return impl_->bookmarks(); }
Result<void> TraceReader::add_bookmark(const Bookmark& bookmark) {
  return impl_->add_bookmark(bookmark);
}
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
uint64_t TraceReader::dropped_bytes() const {
  const IndexEntry& first = impl_->container().chunks().front();
  return first.chunk_type() == ChunkType::kDropped ? first.stored_bytes : 0;
}

Result<void> TraceReader::verify() { return impl_->verify(); }

}  // namespace rchk::trace
