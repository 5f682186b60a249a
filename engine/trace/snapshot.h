#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/registers.h"
#include "base/result.h"
#include "base/types.h"
#include "engine/trace/event.h"
#include "snapshot/page_recorder.h"
#include "snapshot/page_version.h"

namespace rchk::trace {

// A task that waits for its turn.
struct WaitingTask {
  Tid tid;
  bool in_call = false;  // it stands at a system call that has begun already
  Registers registers;
  ExtendedState extended_state;
  bool operator==(const WaitingTask&) const = default;
};

// A page snapshot: all that a replay needs to begin behind an event, but for the contents of pages.
struct Snapshot {
  EventNumber event;    // behind which it was taken
  EventNumber program;  // the ExecEvent of what runs
  // As a program that begins there: mappings, and the registers of the task that `event` is of.
  // It has no contents; time_ns is when the snapshot was taken.
  Event image;
  std::vector<WaitingTask> others;
  // Where calls that have begun may be storing: what is there is not to be compared, for the event
  // that tells of it comes later. Counts as changed in the next snapshot.
  std::vector<AddressRange> unsettled;
  // Where something was stored, mapped or thrown away since the space's last snapshot, whether or
  // not it is other than it was then; normalized. All else was not touched. Of the first one it
  // says nothing.
  std::vector<AddressRange> touched;
  uint64_t cpu_ns = 0;    // processor time that the process had had
  uint64_t pause_ns = 0;  // for so long the program stood still for it
  bool operator==(const Snapshot&) const = default;
};

// A copy of a memory, as it was when a snapshot was taken.
class MemoryHolder {
 public:
  virtual ~MemoryHolder() = default;
  // Reads at `address`; how many bytes it got. By any thread.
  virtual size_t read(GuestAddress address, std::span<uint8_t> bytes) const = 0;
};

// What pages a snapshot has that differ from those of the space's last one.
struct PageDelta {
  // As their mapping began again, or not mapped any more; normalized. Counts before the pages.
  snapshot::RangeSet reset;
  std::vector<snapshot::PageRun> pages;  // in order of address
  // Other pages, which are to be read from the holder; then it is to be let go of. When it has
  // nothing at the first of them any more, it is lost.
  snapshot::RangeSet held;
  std::shared_ptr<const MemoryHolder> holder;
};

// What a process was where what is kept of a recording begins, besides its ExecEvent.
struct Resumed {
  bool is_first = false;          // the process that the recording is of
  std::optional<int32_t> parent;  // its pid, whether or not it is kept
  std::vector<std::string> arguments;
  bool in_call = false;  // the task that the event is of stands at a call that has begun
  std::vector<WaitingTask> others;
  EventNumber program;  // the ExecEvent of what runs, in the whole recording
  // All pages that are not as their mapping began, in order of address.
  std::vector<snapshot::PageChange> pages;
};

// A process for a beginning to be made of: what comes before it is not needed any more.
struct KeptProcess {
  Event event;      // an ExecEvent without contents, of one of its tasks; time_ns is now
  Resumed resumed;  // without pages
  PageDelta delta;  // since the space's last snapshot or beginning
};

// Numbers the page snapshots of a recording from 0.
struct SnapshotNumber {
  uint32_t value = 0;
  auto operator<=>(const SnapshotNumber&) const = default;
};

// Where a page snapshot is.
struct SnapshotMark {
  EventNumber event;
  uint32_t space = 0;
};

// Gives out the page snapshots of a recording. Safe to be called from several threads.
class SnapshotSource {
 public:
  virtual ~SnapshotSource() = default;
  // By SnapshotNumber, in the order of their events.
  virtual const std::vector<SnapshotMark>& marks() const = 0;
  virtual Result<std::shared_ptr<const Snapshot>> snapshot(SnapshotNumber number) = 0;
  // The pages that are not as in the space's snapshot before, in order of address.
  virtual Result<std::vector<snapshot::PageChange>> changes(SnapshotNumber number) = 0;
  // All pages that are not as their mapping began, in order of address.
  virtual Result<std::vector<snapshot::PageChange>> pages(SnapshotNumber number) = 0;
  // A chunk of page contents.
  virtual Result<std::shared_ptr<const Bytes>> page_chunk(uint32_t chunk) = 0;

  // Points behind the recording's start where a replay of all processes can begin: the number of
  // the event behind each, in order.
  virtual const std::vector<EventNumber>& beginnings() const = 0;
  // All processes that run there, by index: ExecEvents with `resumed`.
  virtual Result<std::shared_ptr<const std::vector<Event>>> beginning(size_t index) = 0;
};

}  // namespace rchk::trace
