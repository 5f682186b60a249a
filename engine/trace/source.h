#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/types.h"
#include "engine/trace/bookmark.h"
#include "engine/trace/event.h"
#include "engine/trace/snapshot.h"

namespace rchk::trace {

class ProcessMap;

// What page snapshots of an address space, or beginnings, have taken so far, beside the recording.
struct SnapshotWork {
  uint64_t ns = 0;       // processor time for comparing, compressing and writing
  uint64_t bytes = 0;    // of the recording
  uint64_t waiting = 0;  // of the snapshots: those that are not written yet
};

// Takes a recording in, in the order in which it happens. The recorder calls it from one thread.
class EventSink {
 public:
  virtual ~EventSink() = default;

  // Introduces a file; `info.id` is ignored, and the id that was given is returned. Ids count
  // from 0 in the order of the calls.
  virtual Result<FileId> add_file(const FileInfo& info) = 0;
  // Stores contents of a file, any number of times and in any order. What is there already is
  // kept and costs nothing; a file that has changed since is to be added as another one.
  virtual Result<void> add_file_range(FileId file, uint64_t offset_bytes, ByteView bytes) = 0;
  // Adds the next event. The files that it maps must have been added, with the mapped ranges.
  virtual Result<EventNumber> append(const Event& event) = 0;
  // What a task is called from the event that was appended last on.
  virtual Result<void> name_task(Tid /*tid*/, const std::string& /*name*/) { return {}; }
  // Adds a page snapshot, behind the event that was appended last. Sinks that keep none do nothing.
  virtual Result<void> add_snapshot(Snapshot /*snapshot*/, PageDelta /*delta*/) { return {}; }
  // What those of an address space have taken.
  virtual SnapshotWork snapshot_work(uint32_t /*space*/) const { return {}; }
  // Whether begin_anew() is wanted: history is to be dropped some time later.
  virtual bool wants_beginning() const { return false; }
  // What was added so far is needed no more to replay what comes behind it, but for files that
  // `processes` have mapped; the numbers of all others are not used again. They are all that run,
  // and stand as they do behind the event that was appended last.
  virtual Result<void> begin_anew(std::vector<KeptProcess> /*processes*/) { return {}; }
  // Adds a point for a replay of all processes to begin at. They are all that run, and stand as
  // they do behind the event that was appended last; what is in front of it stays. Sinks that keep
  // none do nothing.
  virtual Result<void> add_beginning(std::vector<KeptProcess> /*processes*/) { return {}; }
  // What those have taken.
  virtual SnapshotWork beginning_work() const { return {}; }
  // There will be no more snapshots of an address space.
  virtual Result<void> end_space(uint32_t /*space*/) { return {}; }
  // Returns when everything so far has left this process (for a file: reached the kernel).
  virtual Result<void> flush() = 0;
  // Ends the recording: nothing may be added afterwards.
  virtual Result<void> close() = 0;
};

// How many processes and tasks a recording has seen.
struct TaskCount {
  uint64_t processes = 0;
  uint64_t tasks = 0;
  // Takes an event in.
  void add(const Event& event);
  bool operator==(const TaskCount&) const = default;
};

// What other processes stored to memory that one shares with them. A replay of that process alone
// does not come to it.
class StoresOfOthers {
 public:
  using Stores = std::shared_ptr<const std::vector<MemoryWrite>>;
  virtual ~StoresOfOthers() = default;
  // Those between an event of an address space, by the recording's number, and what its tasks do
  // next; null: none. May take long.
  virtual Result<Stores> behind(EventNumber event, uint32_t space) = 0;
  // All those to an address space in front of an event of it, oldest first. May take long.
  virtual Result<std::vector<Stores>> before(EventNumber event, uint32_t space) = 0;
  // Whether the first question takes no longer than others.
  virtual bool is_ready() const = 0;
};

// Gives a recording out again. Safe to be called from several threads.
class EventSource {
 public:
  virtual ~EventSource() = default;

  virtual const RecordingInfo& info() const = 0;
  // Events 0 to event_count() - 1 are there. Grows while a live recording goes on.
  virtual uint64_t event_count() const = 0;
  // An event; neighbours of one that was asked for are cheap. An EventNumber that is not there
  // is kMisuse. The event stays valid as long as the pointer is held, and holds on to some
  // thousand neighbours: keep a copy of the event instead of many pointers.
  virtual Result<std::shared_ptr<const Event>> event(EventNumber number) = 0;
  // The number that an event has in the whole recording, where this is only a part of one.
  virtual EventNumber global_number(EventNumber number) const { return number; }

  // The other way round; nothing where the event is not a part of this.
  virtual std::optional<EventNumber> local_number(EventNumber global) const { return global; }
  // How many events of this one come before an event of the whole recording.
  virtual uint64_t events_before(EventNumber global) const {
    return std::min(global.value, event_count());
  }
  // The ExecEvent by which the process that this is the history of left memory that it had borrowed
  // by vfork. Other such events are of children that leave.
  virtual std::optional<EventNumber> departure() const { return std::nullopt; }
  // The page snapshots of the whole recording, or null if it has none.
  virtual SnapshotSource* snapshots() { return nullptr; }

  // Null where a replay needs none.
  virtual StoresOfOthers* stores_of_others() { return nullptr; }

  // How many events in front of this were dropped, and when that ended.
  struct Dropped {
    uint64_t events = 0;
    uint64_t time_ns = 0;
  };
  virtual std::optional<Dropped> dropped() const { return std::nullopt; }

  // Those of the whole recording, oldest first; of some of the same name the last one counts.
  virtual std::vector<Bookmark> bookmarks() const { return {}; }
  // Keeps one in the recording. kUnsupported where it cannot be added to.
  virtual Result<void> add_bookmark(const Bookmark& /*bookmark*/) {
    return fail(ErrorKind::kUnsupported, "the recording is still being made");
  }

  // What a task was called behind an event; empty if that is not known.
  virtual std::string task_name(EventNumber /*event*/, Tid /*tid*/) const { return ""; }
  // Of the whole recording, if that is known without reading it.
  virtual std::optional<TaskCount> task_count() const { return std::nullopt; }
  // Likewise all processes, and where their events are; or null.
  virtual const ProcessMap* process_map() const { return nullptr; }

  // All files, ordered by id, which is also their index.
  virtual std::vector<FileInfo> files() const = 0;
  virtual Result<FileInfo> file_info(FileId file) const = 0;
  // Exactly `size_bytes` bytes of a file. Past the file's end it reads as zero, as a mapped page
  // does; a range that was not recorded is kBadTrace.
  virtual Result<Bytes> file_bytes(FileId file, uint64_t offset_bytes, uint64_t size_bytes) = 0;
};

// A part of a recording, as one with events of its own: its files are the recording's.
class PartOfRecording : public EventSource {
 public:
  const RecordingInfo& info() const final { return recording_.info(); }
  SnapshotSource* snapshots() final { return recording_.snapshots(); }
  StoresOfOthers* stores_of_others() override { return recording_.stores_of_others(); }
  std::vector<Bookmark> bookmarks() const final { return recording_.bookmarks(); }
  Result<void> add_bookmark(const Bookmark& bookmark) final {
    return recording_.add_bookmark(bookmark);
  }
  std::optional<Dropped> dropped() const final { return recording_.dropped(); }
  std::string task_name(EventNumber event, Tid tid) const final {
    return recording_.task_name(global_number(event), tid);
  }
  std::vector<FileInfo> files() const final { return recording_.files(); }
  Result<FileInfo> file_info(FileId file) const final { return recording_.file_info(file); }
  Result<Bytes> file_bytes(FileId file, uint64_t offset_bytes, uint64_t size_bytes) final {
    return recording_.file_bytes(file, offset_bytes, size_bytes);
  }

 protected:
  // `recording` outlives it.
  explicit PartOfRecording(EventSource& recording) : recording_(recording) {}
  EventSource& recording_;
};

// Feeds two sinks, which both must have been fresh: they number alike.
class TeeSink final : public EventSink {
 public:
  TeeSink(EventSink& first, EventSink& second) : first_(first), second_(second) {}
  Result<FileId> add_file(const FileInfo& info) override;
  Result<void> add_file_range(FileId file, uint64_t offset_bytes, ByteView bytes) override;
  Result<EventNumber> append(const Event& event) override;
  Result<void> name_task(Tid tid, const std::string& name) override;
  Result<void> add_snapshot(Snapshot snapshot, PageDelta delta) override;
  SnapshotWork snapshot_work(uint32_t space) const override {
    const SnapshotWork first = first_.snapshot_work(space), second = second_.snapshot_work(space);
    return {first.ns + second.ns, first.bytes + second.bytes, first.waiting + second.waiting};
  }
  Result<void> add_beginning(std::vector<KeptProcess> processes) override;
  SnapshotWork beginning_work() const override {
    const SnapshotWork first = first_.beginning_work(), second = second_.beginning_work();
    return {first.ns + second.ns, first.bytes + second.bytes, first.waiting + second.waiting};
  }
  Result<void> end_space(uint32_t space) override;
  Result<void> flush() override;
  Result<void> close() override;

 private:
  EventSink& first_;
  EventSink& second_;
};

}  // namespace rchk::trace
