#pragma once

#include <memory>

#include "engine/trace/source.h"

namespace rchk::trace {

// A recording in memory, fed by the recorder and read by a live session's replays at the same
// time. Events are kept encoded, about 30 bytes for a small one; file contents as they are.
class EventLog final : public EventSink, public EventSource {
 public:
  explicit EventLog(RecordingInfo info);
  ~EventLog() override;
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  Result<FileId> add_file(const FileInfo& info) override;
  Result<void> add_file_range(FileId file, uint64_t offset_bytes, ByteView bytes) override;
  Result<EventNumber> append(const Event& event) override;
  Result<void> name_task(Tid tid, const std::string& name) override;
  Result<void> flush() override;
  Result<void> close() override;

  const RecordingInfo& info() const override;
  uint64_t event_count() const override;
  Result<std::shared_ptr<const Event>> event(EventNumber number) override;
  std::string task_name(EventNumber event, Tid tid) const override;
  std::optional<TaskCount> task_count() const override;
  std::vector<FileInfo> files() const override;
  Result<FileInfo> file_info(FileId file) const override;
  Result<Bytes> file_bytes(FileId file, uint64_t offset_bytes, uint64_t size_bytes) override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rchk::trace
