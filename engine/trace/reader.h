#pragma once

#include <memory>
#include <string>

#include "base/fd.h"
#include "engine/trace/source.h"

namespace rchk::trace {

// Opens a recording's file, which may be hostile: nothing in it is believed before it has been
// checked. Events and file contents are loaded when they are asked for.
//
// A file whose writer died is usable up to its last whole chunk: is_complete() is false then, and
// torn_tail_note() says what was left behind. Damage before the tail is an error, of open() or
// of the call that comes across it, and names the offset.
class TraceReader final : public EventSource {
 public:
  static Result<std::unique_ptr<TraceReader>> open(const std::string& path);
  // The same for an open file; `name` is what errors call it.
  static Result<std::unique_ptr<TraceReader>> open(FileDescriptor file, std::string name);
  ~TraceReader() override;
  TraceReader(const TraceReader&) = delete;
  TraceReader& operator=(const TraceReader&) = delete;

  const RecordingInfo& info() const override;
  uint64_t event_count() const override;
  Result<std::shared_ptr<const Event>> event(EventNumber number) override;
  std::optional<TaskCount> task_count() const override;
  const ProcessMap* process_map() const override;
  std::optional<Dropped> dropped() const override;
  SnapshotSource* snapshots() override;
  std::string task_name(EventNumber event, Tid tid) const override;
  std::vector<Bookmark> bookmarks() const override;
  Result<void> add_bookmark(const Bookmark& bookmark) override;
  std::vector<FileInfo> files() const override;
  Result<FileInfo> file_info(FileId file) const override;
  Result<Bytes> file_bytes(FileId file, uint64_t offset_bytes, uint64_t size_bytes) override;

  // True if the recording was closed.
  bool is_complete() const;
  // For a recording that was not closed: where it ends and how many bytes behind that are lost.
  // Empty otherwise.
  std::string torn_tail_note() const;
  // What the contents of files take of the recording's file, of which files() tells the sizes.
  uint64_t file_contents_stored_bytes() const;
  // What page snapshots take of it.
  uint64_t snapshots_stored_bytes() const;
  // How much of the file is a hole, where older history was.
  uint64_t dropped_bytes() const;
  // How many batches of events were loaded so far; one that was forgotten may have been loaded
  // again.
  uint64_t batches_loaded() const;
  // Reads and decodes everything; the first damage found is the error. So is a list of processes
  // that is not what the events say.
  Result<void> verify();

 private:
  class Impl;
  explicit TraceReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rchk::trace
