#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/trace/source.h"

namespace rchk::trace {

// How much of its history a recording keeps: of one of these at least, or everything.
struct Keep {
  std::optional<std::chrono::nanoseconds> duration;
  // What the file takes of the disk. Where the program's memory takes more than a quarter of that,
  // so much more is kept.
  std::optional<uint64_t> size_bytes;
  bool is_everything() const { return !duration && !size_bytes; }
};

struct WriterOptions {
  Keep keep;
  // Told once about each thing that the user should know of, by the writer's own thread. A whole
  // sentence.
  std::function<void(std::string_view)> message;
};

// Writes a recording to a file (docs/trace-format.md). Events are encoded by the caller's thread;
// compressing and writing is done by one worker thread, so that recording does not wait for it
// unless it is far behind. An error of the worker is returned by every later call.
//
// The worker blocks all signals and inherits the creator's CPU affinity: create the writer before
// pinning the recording thread. A writer that is destroyed without close() leaves a readable file
// that counts as incomplete.
class TraceWriter final : public EventSink {
 public:
  // Creates the file, or empties it if it exists, and writes `info`.
  static Result<std::unique_ptr<TraceWriter>> create(const std::string& path,
                                                     const RecordingInfo& info,
                                                     WriterOptions options = {});
  ~TraceWriter() override;
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  Result<FileId> add_file(const FileInfo& info) override;
  Result<void> add_file_range(FileId file, uint64_t offset_bytes, ByteView bytes) override;
  Result<EventNumber> append(const Event& event) override;
  Result<void> name_task(Tid tid, const std::string& name) override;
  Result<void> add_snapshot(Snapshot snapshot, PageDelta delta) override;
  SnapshotWork snapshot_work(uint32_t space) const override;
  bool wants_beginning() const override;
  Result<void> begin_anew(std::vector<KeptProcess> processes) override;
  Result<void> add_beginning(std::vector<KeptProcess> processes) override;
  SnapshotWork beginning_work() const override;
  Result<void> end_space(uint32_t space) override;
  Result<void> flush() override;
  Result<void> close() override;

  // Makes a closed recording in a file of its own of all that was added before the call. Returns
  // when it is there. kMisuse with EEXIST if the file exists. May be called from any thread.
  Result<void> save(const std::string& path);

 private:
  class Impl;
  explicit TraceWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rchk::trace
