#pragma once

#include <memory>
#include <string>

#include "engine/trace/source.h"

namespace rchk::trace {

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
                                                     const RecordingInfo& info);
  ~TraceWriter() override;
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  Result<FileId> add_file(const FileInfo& info) override;
  Result<void> add_file_range(FileId file, uint64_t offset_bytes, ByteView bytes) override;
  Result<EventNumber> append(const Event& event) override;
  Result<void> add_snapshot(Snapshot snapshot, PageDelta delta) override;
  uint64_t snapshot_work_ns(uint32_t space) const override;
  Result<void> end_space(uint32_t space) override;
  Result<void> flush() override;
  Result<void> close() override;

 private:
  class Impl;
  explicit TraceWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rchk::trace
