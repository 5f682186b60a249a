#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/result.h"
#include "base/types.h"
#include "engine/replay/content_store.h"
#include "engine/replay/guest.h"
#include "engine/replay/state_match.h"
#include "engine/trace/dump.h"
#include "engine/trace/source.h"
#include "engine/tracee/xsavec.h"
#include "engine/translate/engine.h"

namespace rchk::replay {

// A state-matched point between two events: where a live session took a snapshot. The segment
// that ends in it gets its length when a replay first finds the point.
struct Anchor {
  uint32_t number = 0;  // Position::anchor behind it
  Tid tid;              // the task that ran there
  StateTarget target;
  std::optional<uint64_t> segment_instructions;
  uint64_t segment_rep_iterations = 0;  // of a string instruction that it lies in
};

// How far a segment goes that ends in a state: known as soon as a replay has found it.
struct StateDistance {
  uint64_t instructions = 0;
  uint64_t rep_iterations = 0;  // of a string instruction that it lies in
};

// Tells a replay of the anchors that follow its events.
class AnchorSource {
 public:
  virtual ~AnchorSource() = default;
  // The first anchor behind `event` whose number is above `anchor`, or null.
  virtual Anchor* next_anchor(EventNumber event, uint32_t anchor) = 0;
};

enum class AdvanceStop : uint8_t {
  kLimit,       // at the limit, or, where its segment is shorter, at the segment's end
  kBreakpoint,  // pc at it
  kWatchpoint,  // behind the access
  kExit,        // the guest is about to end; nothing more happens
  kEndOfLog,    // the log has no more events and does not say how the guest went on
  kSlice,       // nothing happened within the slice
};

struct Outcome {
  AdvanceStop stop = AdvanceStop::kLimit;
  uint32_t probe = 0;           // index of the breakpoint or watchpoint
  bool by_system_call = false;  // kWatchpoint: the kernel wrote, at `event`
  // kExit: the event that says it: an ExitEvent, or the ExecEvent by which the last child of vfork
  // leaves that went on in the memory of a process that had ended.
  EventNumber event{};
};

// The last hit that an advance under HitPolicy::kRemember passed.
struct FoundHit {
  Position position;  // before the instruction that hit
  bool is_watchpoint = false;
  uint32_t probe = 0;
};

struct AdvanceRequest {
  Position limit{EventNumber{UINT64_MAX}, 0, 0, 0};
  // A breakpoint at the position it starts from counts.
  bool report_at_start = false;
  uint64_t slice_instructions = UINT64_MAX;
};

// Re-executes the recording of one process in puppets, exactly: applies each event where it
// happened, and checks the guest against the log at each. Whatever does not agree is a kDivergence
// error, which tells position, expected, found and the last events; nothing goes on after it.
//
// `source` has the events of that process alone (trace::ProcessView, or a recording of only one).
// The task whose event comes next is the one that runs; so behind an event of one task the guest
// may show another.
//
// Drives one guest at a time, any number in turn. Not thread-safe.
class Replayer {
 public:
  static Result<std::unique_ptr<Replayer>> create(trace::EventSource& source,
                                                  std::optional<int> cpu);

  // One for another process of the same recording, that has what can be shared in common with
  // `other`: all file contents and memory, and for a forked process the translations.
  // Their guests share memory if share_memory() of the first of them was called.
  static Result<std::unique_ptr<Replayer>> create_beside(const Replayer& other,
                                                         trace::EventSource& source, bool forked);
  // From now on what its guests share is shared by all guests of the replayers made beside it.
  void share_memory() { shared_ = std::make_shared<SharedObjects>(); }

  // A guest at the start of the recording.
  Result<Guest> start();
  // The same where that is the fork of a process: `parent` stands where it forked. Shares the
  // memory that those processes share.
  Result<Guest> start_as_child(const Guest& parent);

  // A guest of a process that goes on at a beginning of the recording, as that has it: an ExecEvent
  // with `resumed`. `number` is the process's last event in front of it.
  Result<Guest> start_behind(EventNumber number, const trace::Event& process);
  // Whether a guest that has come there is as a beginning has it. Of its pages `changed` are
  // looked at, but for those at `unsettled`, where calls that wait there may be storing; where that
  // is not known, only at registers. Where snapshots are restored, so is this.
  Result<void> check_beginning(Guest& guest, const trace::Event& process,
                               const std::vector<snapshot::PageChange>& changed,
                               const std::optional<std::vector<AddressRange>>& unsettled);

  // A guest behind the event of a page snapshot, made of what the snapshot holds. kMisuse if that
  // is of a process that the source is not of. REQUIRES: the source has snapshots.
  Result<Guest> start_at(trace::SnapshotNumber number);
  // Marks `guest` as being amid a string instruction where it stands right behind an event that was
  // recorded there, as far as guests of this replayer have come by it: one that was made of a page
  // snapshot may not know. A breakpoint at that instruction was met before.
  void note_if_amid(Guest& guest) const;

  // Runs `guest` forward until something of `request` or the probes happens.
  Result<Outcome> advance(Guest& guest, const AdvanceRequest& request);

  // Runs `guest` on by at most `limit` instructions, no further than to the end of the segment that
  // it is in, and appends to `passed` the state in front of each. Ends early in front of what
  // translate::Engine::run_logged() does not pass. REQUIRES: no probes are set; limit > 0.
  Result<void> run_logged(Guest& guest, uint64_t limit,
                          std::vector<translate::LoggedInstruction>& passed);

  // What to look for. Watchpoints see what system calls write too.
  Result<void> set_probes(translate::Probes probes);
  const std::optional<FoundHit>& last_hit() const { return last_hit_; }
  // Of an event by state, if a guest has come by it.
  std::optional<StateDistance> distance_to(EventNumber event) const {
    const auto known = distances_.find(event.value);
    return known == distances_.end() ? std::nullopt : std::optional(known->second);
  }
  void forget_hits() { last_hit_.reset(); }

  void set_anchors(AnchorSource* anchors) { anchors_ = anchors; }
  // Called behind each event that was applied.
  using OnEvent = std::function<Result<void>(EventNumber, const trace::Event&, const Guest&)>;
  void on_event(OnEvent call) { on_event_ = std::move(call); }
  // Called in front of each event that a guest comes to, but not the first one.
  using BeforeEvent = std::function<Result<void>(const trace::Event&, Guest&)>;
  void before_event(BeforeEvent call) { before_event_ = std::move(call); }
  // Names system calls in messages.
  void name_syscalls_with(trace::SyscallNamer namer) { namer_ = std::move(namer); }

  // Performs the XSAVEC that the guest stands at, if it does. advance() does so by itself.
  Result<bool> answer_xsavec(Guest& guest);

  translate::Engine& engine() { return *engine_; }
  trace::EventSource& source() { return source_; }
  uint64_t instructions() const { return instructions_; }  // retired in all advances so far
  uint64_t checksums_verified() const { return checksums_verified_; }
  // Page snapshots that the guest came by, and pages that changed in them.
  uint64_t snapshots_verified() const { return snapshots_verified_; }
  uint64_t pages_verified() const { return pages_verified_; }
  // From now on every snapshot that the guest comes by is restored as well, and all memory
  // compared.
  void restore_snapshots() { restores_ = true; }
  uint64_t snapshots_restored() const { return snapshots_restored_; }

 private:
  Replayer(trace::EventSource& source, std::optional<int> cpu) : source_(source), cpu_(cpu) {}

  // One stretch of execution and what ended it; see segment.h.
  struct Segment;
  Result<Segment> segment_behind(const Guest& guest);
  // That, with what is rchk's own out of the way.
  Result<Segment> enter_segment(Guest& guest);
  Result<std::shared_ptr<const StateTarget>> target_at(const trace::Event& event,
                                                       EventNumber number);
  // Lets the task run that the log says runs next.
  Result<void> settle(Guest& guest);
  Result<std::optional<Outcome>> run_segment(Guest& guest, const AdvanceRequest& request,
                                             const Segment& segment, bool& report_at_start,
                                             uint64_t& budget);
  // More than a processor can have executed between a task's last two events up to `number`.
  Result<uint64_t> most_instructions_before(EventNumber number);
  Result<std::optional<Outcome>> search_state(Guest& guest, const AdvanceRequest& request,
                                              const Segment& segment, bool report_at_start,
                                              uint64_t& budget);
  Result<translate::Stop> run_engine(Guest& guest, uint64_t limit, bool report_at_start);
  std::optional<Outcome> probe_outcome(const Guest& guest, const translate::Stop& stop) const;
  std::string unrecorded_hint(const Guest& guest) const;
  Result<std::optional<Outcome>> at_engine_stop(Guest& guest, const AdvanceRequest& request,
                                                const Segment& segment,
                                                const translate::Stop& stop);
  Result<std::optional<Outcome>> take_event(Guest& guest, const trace::Event& event);
  Result<std::optional<Outcome>> at_state(Guest& guest, const AdvanceRequest& request,
                                          const Segment& segment, StateDistance distance);

  Result<std::optional<Outcome>> take_exit(Guest& guest, const trace::Event& event);
  bool is_leave(const Guest& guest, const trace::Event& event) const;
  // Applies one event to a guest that stands where it happened (events.cpp).
  Result<void> perform(Guest& guest, const trace::Event& event);
  Result<void> begin_task(Guest& guest, const trace::SpawnEvent& event, Tid tid);
  Result<void> remove_task(Guest& guest, Tid tid);

  // apply.cpp
  // Whether a snapshot holds what shared mappings show.
  enum class Origin : uint8_t { kProgram, kSnapshot };
  Result<void> apply(Guest& guest, const trace::ExecEvent& event, Origin origin = Origin::kProgram);
  Result<void> apply(Guest& guest, const trace::SyscallEvent& event);
  Result<void> apply(Guest& guest, const trace::SignalEvent& event);
  Result<void> apply(Guest& guest, const trace::AddressSpaceChange& change);
  Result<void> write(Guest& guest, const trace::MemoryWrite& write);
  Result<void> map(Guest& guest, const snapshot::Mapping& mapping,
                   Origin origin = Origin::kProgram);
  // Performs the CPUID that the guest stands at, if it does and the recorder did not trap it.
  bool answer_cpuid(Guest& guest);
  bool answer_core(Guest& guest);
  Result<void> check_registers(const Guest& guest, Registers expected, bool behind_syscall);
  // The same where a system call may have been entered, if the guest stands at one.
  Result<void> check_stand(const Guest& guest, const Registers& expected);
  Result<void> check_memory(const Guest& guest, const std::vector<trace::MemoryChecksum>& memory);

  // shared_memory.cpp
  // What other processes have stored to memory of the guest's, between `guest.position` and the
  // event behind it.
  Result<void> apply_stores_of_others(Guest& guest);
  Result<void> take_back_stores_of_others(Guest& guest);
  // To memory that the guest only reads, which no snapshot looks at: all that were ever stored.
  Result<void> apply_all_stores_of_others(Guest& guest);

  // What an ExecEvent makes, that of a program or of one that is resumed.
  Result<Guest> begun_by(const trace::Event& event);

  // restore.cpp
  // As start_at(), without what other processes have stored since the event.
  Result<Guest> made_of(trace::SnapshotNumber number);
  Result<void> put_pages(Guest& guest, const std::vector<snapshot::PageChange>& pages);
  // The rest of what a program has where older history was dropped.
  Result<void> resume(Guest& guest, const trace::Resumed& resumed);
  // The snapshot that was taken behind an event of an address space, if one was.
  std::optional<trace::SnapshotNumber> snapshot_behind(EventNumber event, uint32_t space) const;
  Result<void> check_snapshot(Guest& guest, trace::SnapshotNumber number);
  Result<void> check_task(const Guest& guest, Tid tid, Registers expected);
  // `place` has the contents, in messages.
  Result<void> check_pages(Guest& guest, const std::vector<snapshot::PageChange>& pages,
                           const std::vector<AddressRange>& unsettled, std::string_view place);
  // The state at an event whose place its page snapshot says: of a guest that is made of that.
  Result<std::shared_ptr<const StateTarget>> target_of(const trace::SwitchEvent& event,
                                                       trace::SnapshotNumber number);
  // Whether an event is such a one, and its snapshot is not there.
  bool is_without_snapshot(const trace::Event& event, EventNumber number) const;
  Result<void> compare_restored(Guest& guest, Guest restored,
                                const std::vector<AddressRange>& unsettled, std::string_view place);

  // Watchpoints against what the kernel wrote.
  struct WatchedBytes {
    uint32_t probe;
    Bytes before;
  };
  std::vector<WatchedBytes> watched_before(Guest& guest);
  std::optional<uint32_t> watched_change(Guest& guest, const std::vector<WatchedBytes>& before);

  Failure divergence(const Guest& guest, std::string_view what);

  trace::EventSource& source_;
  std::optional<int> cpu_;
  std::shared_ptr<translate::Engine> engine_;
  // One for all puppets that descend from one another: they know it by its descriptor.
  std::shared_ptr<ContentStore> contents_;
  std::shared_ptr<SharedObjects> shared_;
  tracee::Xsavec xsavec_ = tracee::Xsavec::of_this_machine();
  AnchorSource* anchors_ = nullptr;
  translate::Probes probes_;
  std::optional<FoundHit> last_hit_;
  OnEvent on_event_;
  BeforeEvent before_event_;
  trace::SyscallNamer namer_;
  // Of events by state that were found already, by number.
  std::unordered_map<uint64_t, StateDistance> distances_;
  // The last target that was made of a snapshot, until it is found.
  std::optional<std::pair<trace::SnapshotNumber, std::shared_ptr<const StateTarget>>>
      restored_target_;
  uint64_t instructions_ = 0;
  uint64_t checksums_verified_ = 0;
  uint64_t snapshots_verified_ = 0;
  uint64_t pages_verified_ = 0;
  uint64_t snapshots_restored_ = 0;
  bool restores_ = false;
  bool exit_memory_checked_ = false;
};

}  // namespace rchk::replay
