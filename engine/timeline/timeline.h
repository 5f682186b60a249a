#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/progress.h"
#include "engine/replay/replayer.h"
#include "engine/timeline/checkpoints.h"
#include "engine/timeline/clock.h"
#include "engine/timeline/search_crew.h"
#include "engine/timeline/stations.h"
#include "engine/timeline/stop_points.h"
#include "engine/timeline/trail.h"
#include "engine/timeline/unreached.h"
#include "engine/timeline/window.h"
#include "snapshot/memory_cost.h"

namespace rchk::timeline {

// The end of history that still grows: a program being recorded, as the timeline needs it.
class LiveEnd {
 public:
  virtual ~LiveEnd() = default;

  // Lets the program run on, being recorded.
  // REQUIRES: can_stop_at(points), unless the command is a single step.
  virtual Result<TimelineStop> run(const RunCommand& command, const StopPoints& points) = 0;
  // Whether the machine can stop the running program at all of them.
  virtual bool can_stop_at(const StopPoints& points) = 0;
  // Where it is: an anchor behind the last event, made now unless there is one here already.
  virtual Result<Position> position() = 0;

  // The program's tasks; the one that stopped comes first.
  virtual std::vector<Tid> tasks() = 0;
  virtual Result<Registers> registers(Tid task) = 0;
  virtual Result<ExtendedState> extended_state(Tid task) = 0;
  virtual size_t read_memory(GuestAddress address, std::span<uint8_t> bytes) = 0;
  virtual Result<snapshot::AddressSpace> space() = 0;
  // siginfo of the signal that it stands at, if it does.
  virtual std::optional<Bytes> signal_info() = 0;
  // A signal that the program gets when it goes on.
  virtual std::optional<int> signal_to_come() = 0;
  // A copy of the program as it is, to play with.
  virtual Result<replay::Guest> copy() = 0;
  // False once the program has ended or goes on unrecorded.
  virtual bool running() const = 0;

  // Lets the processes run on that outlive the program, over its end, until `interrupted` says
  // stop. False once they have all ended. Nothing else may be called from then on.
  virtual Result<bool> run_beyond(const std::function<bool()>& interrupted) = 0;
};

// A recording's history with a point in it where the user is: the present. Moves the present
// forward and backward, exactly, using checkpoints so that no move replays more than it must.
//
// Searching back on several cores forks worker processes: it has to be the only thread then.
//
// The present is one of three things: the live end, a guest that stands at it, or a step of the
// window, a stretch of single instructions kept at hand.
class Timeline final : public replay::AnchorSource {
 public:
  // A history that does not grow. Stands at its start.
  static Result<std::unique_ptr<Timeline>> open(trace::EventSource& source, std::optional<int> cpu,
                                                trace::SyscallNamer namer);
  // One that `live` makes longer; stands at its end. `live` outlives the timeline.
  static Result<std::unique_ptr<Timeline>> open_live(trace::EventSource& source, LiveEnd& live,
                                                     std::optional<int> cpu,
                                                     trace::SyscallNamer namer);
  // That of a process which the one of `parent` has made: it begins behind `beginning`, and goes no
  // further back. Costs least while the parent stands there.
  static Result<std::unique_ptr<Timeline>> open_child(trace::EventSource& source, Timeline& parent,
                                                      EventNumber beginning);
  ~Timeline() override;

  bool is_live() const { return at_live_end_; }
  bool has_live_end() const { return live_ != nullptr; }
  Result<Position> position();
  // The tasks of the process; the one that runs comes first, if it is the process's own.
  std::vector<Tid> tasks();
  // What it is called here; empty if that is not known.
  std::string name_of(Tid task);
  // If it is another process's, the one of this process that waits for it.
  Tid running_task();
  // Of the task that runs, or of any.
  Result<Registers> registers();
  Result<ExtendedState> extended_state();
  Result<Registers> registers(Tid task);
  Result<ExtendedState> extended_state(Tid task);
  size_t read_memory(GuestAddress address, std::span<uint8_t> bytes);
  Result<snapshot::AddressSpace> space();
  // The siginfo of the signal that the present stands at, if it does: it is about to arrive, and
  // has stopped a run, or the handler has just been entered.
  Result<std::optional<Bytes>> signal_info();
  // The program that the process runs now: the last ExecEvent.
  Result<std::shared_ptr<const trace::Event>> program();

  // Lets a live program run on for a moment, without a stop for anything; the present stays, in
  // history. Where the program comes to its end: stops there, or goes on with the processes that
  // outlive it; what is left of this timeline is its history. False where nothing is to be
  // recorded.
  enum class AtEnd : uint8_t { kStop, kGoBeyond };
  Result<bool> record_more(const std::function<bool()>& interrupted, AtEnd at_end);
  bool can_record_more() const { return live_ != nullptr || beyond_ != nullptr; }
  // Whether events may still be added to the source of a history without a live end. Nothing is
  // then run behind the last one: what comes next may happen anywhere from there on.
  void set_grows(bool grows) { grows_ = grows; }

  // Where a process begins that was forked: the user goes no further back. Stands there.
  Result<void> begin_at(EventNumber event);
  Position beginning() const { return {beginning_, 0, 0, 0}; }
  // Page snapshots are begun at where that costs less than the way there.
  void set_restore_cost(RestoreCost cost) { stations_.set_restore_cost(cost); }
  // Searches back pass over what is known not to have what they look for, unless told not to.
  void use_index(bool use) { uses_index_ = use; }
  // Which cores search back besides this one: a worker on each. They begin once a search has taken
  // so long. Only where nothing is added to the history.
  struct SearchOptions {
    std::vector<int> cores;
    int64_t patience_ns = 100'000'000;
    bool waits_for_workers = false;  // searches itself only what they do not come to: for tests
  };
  // How many stretches workers have searched by now.
  uint64_t searched_by_workers() const { return searched_by_workers_; }
  void set_search_options(SearchOptions options) { search_options_ = std::move(options); }
  // Told how far runs, searches and moves in history have come that take long. Outlives this one
  // and those opened as its children.
  void set_progress(const Progress& progress) { progress_ = &progress; }
  // The process whose history this is.
  int32_t process() const { return process_; }
  // What to tell from its own doings; with none of it, all tasks that use its memory count as its.
  void set_kin(std::shared_ptr<const Kin> kin) { kin_ = std::move(kin); }

  void set_stop_points(StopPoints points) { points_ = std::move(points); }
  Result<TimelineStop> forward(const RunCommand& command);
  Result<TimelineStop> backward(const RunCommand& command);
  // The present moves to `target`; past the end of its segment means that end.
  Result<void> seek(const Position& target);
  Result<void> seek_to_end();

  // The latest stretch before the present in which `range` may have changed; it did not since.
  // Told without running, from what the checkpoints know.
  struct Stretch {
    Position begin, end;
  };
  Result<Stretch> last_touch(AddressRange range);

  // A copy of the guest as it is now, that can be changed and thrown away.
  Result<replay::Guest> diversion();

  replay::Replayer& replayer() { return *replayer_; }
  trace::EventSource& source() { return source_; }

  // For LiveEnd: a new anchor at the end of history, with the fork snapshot that made it.
  void add_anchor(EventNumber event, replay::Anchor anchor, replay::Guest snapshot, int64_t at_ns);
  // A fork snapshot without an anchor, exactly behind an event. `pages`, in order, changed since
  // the last one. REQUIRES: !has_checkpoint(its position)
  void add_live_snapshot(replay::Guest snapshot, int64_t at_ns,
                         const std::vector<GuestAddress>& pages);
  bool has_checkpoint(const Position& position) const { return checkpoints_.contains(position); }

  // replay::AnchorSource
  replay::Anchor* next_anchor(EventNumber event, uint32_t anchor) override;
  // The number of the last anchor behind `event`, 0 if there is none.
  uint32_t last_anchor(EventNumber event) const;

 private:
  Timeline(trace::EventSource& source, LiveEnd* live)
      : source_(source), live_(live), stations_(source) {}

  // landmarks.cpp
  struct Landmark {
    Position position;
    EventNumber event;
    bool in_front = false;  // of the event, not behind it
    TimelineStop stop;
  };
  struct Ahead {
    Position position;  // how far ahead it was looked
    std::optional<Landmark> landmark;
  };
  // The landmark that stopped the present run.
  struct Told {
    Position position;
    EventNumber event;
  };
  // A program, and the events behind which it is known to run.
  struct Program {
    EventNumber first, last;
    std::shared_ptr<const trace::Event> event;
  };
  Result<std::optional<Landmark>> landmark_before(EventNumber number, bool going_back);
  Result<std::optional<Landmark>> landmark_behind(EventNumber number, bool going_back);
  Result<std::shared_ptr<const trace::Event>> program_at(EventNumber event);
  Result<Ahead> next_landmark();
  Result<std::optional<Landmark>> previous_landmark(const Position& start, const Position& end);
  bool is_told(EventNumber event);
  bool tell(const Landmark& landmark);
  Result<std::optional<TimelineStop>> run_on(const Position& limit, const RunCommand& command);
  Result<std::optional<TimelineStop>> crossing(EventNumber event);
  Result<std::optional<TimelineStop>> crossed(EventNumber event);
  Result<std::optional<TimelineStop>> crossed_back(const Position& from);

  Result<TimelineStop> move_forward(const RunCommand& command);
  Result<TimelineStop> move_backward(const RunCommand& command);
  Result<TimelineStop> forward_live(const RunCommand& command);
  Result<std::optional<TimelineStop>> stop_at_live_end();
  std::optional<TimelineStop> signal_at_live_end();
  Result<TimelineStop> run_ahead(const RunCommand& command);
  Result<TimelineStop> forward_in_history(const RunCommand& command);
  Result<TimelineStop> continue_in_history(const RunCommand& command);
  // How much of a step of the user's a move to the next position is.
  enum class Extent : uint8_t {
    kNothing,  // an event between two instructions, or another name of the same point
    kPart,     // some iterations of a string instruction
    kWhole,
  };
  struct Step {
    TimelineStop stop;
    Extent extent = Extent::kWhole;
  };
  Result<Step> step_in_history(Tid task);
  Result<Step> step_in_window(Tid task);
  bool is_step(const trace::Event& event, Tid task) const;
  Result<Extent> extent_of(EventNumber number, Tid task);
  bool is_part(const Position& from, const Position& to);
  // searches.cpp
  Result<TimelineStop> continue_backward(const RunCommand& command);
  Result<TimelineStop> search_backward(const RunCommand& command);
  bool positions_stay() const;
  void note_unvisited(const Position& begin, const Position& end,
                      const std::vector<GuestAddress>& instructions);
  bool can_skip(const Checkpoint& from, const Position& end) const;
  // Where the recording's index says that nothing that is looked for happened from some page
  // snapshot up to `end`: where that is.
  Result<std::optional<Position>> ruled_out_before(const Position& end, const Position& floor);
  bool can_search_with_early(const std::vector<AddressRange>& early) const;
  Result<bool> can_search_from(const Station& station) const;
  std::vector<GuestAddress> breakpoint_addresses(GuestAddress but) const;
  Result<SearchResult> search_interval(const Checkpoint& from, const Position& end,
                                       const std::function<bool()>& interrupted);
  using Run = std::function<Result<replay::Outcome>(const replay::AdvanceRequest&)>;
  Result<SearchResult> search_on(replay::Replayer& replayer, replay::Guest& guest,
                                 const Position& end, const Run& run,
                                 const std::function<bool()>& interrupted);
  // crews.cpp
  struct Cut {
    std::vector<SearchJob> jobs;
    Position begin;  // how far back it was cut
  };
  // Of one search.
  struct Crews {
    explicit Crews(const Position& end) : next(end), since_ns(now_ns()) {}
    std::unique_ptr<SearchCrew> here;
    Position next;  // there is none for what lies behind it
    int64_t since_ns;
  };
  Result<Cut> cut_before(const Position& end, const Position& floor);
  Result<void> employ(Crews& crews, const Position& end, const Position& floor);
  void dismiss(Crews& crews);
  Result<SearchCrew::Search> make_search(int cpu);
  Result<SearchResult> search_from(replay::Replayer& replayer, const SearchJob& job,
                                   const SearchCrew::GiveUp& give_up);
  Result<SearchResult> search_back(const Position& begin, Position end,
                                   const std::function<bool()>& interrupted);
  Result<SearchResult> search_job(SearchCrew& crew, size_t wanted, const Position& end,
                                  const std::function<bool()>& interrupted);
  struct StepBack {
    bool moved = false;                         // not at the start of history
    std::shared_ptr<const trace::Event> event;  // that was taken back, if it was one
  };
  Result<StepBack> step_back();
  // tasks.cpp
  Result<std::optional<TimelineStop>> run_to_task(const RunCommand& command);
  Result<StepBack> step_task_back(Tid task);
  Result<bool> stands_in_instruction(Tid task);
  Result<bool> is_in_string_instruction(const Position& position);
  Result<std::optional<Position>> last_stand_of(Tid task, EventNumber last);

  static constexpr int64_t kCheckpointEveryNs = 150'000'000;
  // Where the end of the way is about to be approached again.
  static constexpr int64_t kCheckpointOftenNs = 40'000'000;
  // Advances, making a checkpoint every `every_ns` where that pays; stops early when interrupted.
  Result<replay::Outcome> advance(replay::Guest& guest, replay::AdvanceRequest request,
                                  int64_t& at_ns, const std::function<bool()>& interrupted,
                                  int64_t every_ns = kCheckpointEveryNs);
  void tell_progress(const Position& replayed, int64_t at_ns) const;
  Trail& trail_of(const replay::Guest& guest);
  Result<void> keep_checkpoint(const replay::Guest& guest, int64_t at_ns, int64_t present_ns);
  // A guest of its own at `target`, or at the end of its segment. With `approach`, checkpoints
  // are left ever closer to it on the way.
  Result<replay::Guest> guest_at(const Position& target, bool approach);
  // The checkpoint to go on from: the latest one at or before `target` (`strictly`: before), or one
  // made of a page snapshot where that pays. Null if there is none.
  Result<const Checkpoint*> base_for(const Position& target, bool strictly);
  Result<replay::Guest> copy_at(const Position& wanted);
  // Makes guest_ stand at the present.
  Result<void> stand();
  Result<bool> window_before(const Position& present);
  Result<Position> end_of_segment_before(const Position& anchored);
  // The position one step before; nothing at the start of history.
  Result<std::optional<Position>> position_before(const Position& position);
  Result<void> learn_process();
  Result<std::optional<TimelineStop>> stop_of(const replay::Outcome& outcome);
  bool counts(const Condition& condition, replay::Guest& guest);
  bool counts_at(const Breakpoint& point, replay::Guest& guest);
  bool is_own(Tid task, EventNumber event) const;
  bool has_guests(EventNumber first, EventNumber last) const;
  std::optional<TimelineStop> kin_stop(EventNumber event);
  bool is_end(EventNumber event) const;
  Result<std::optional<TimelineStop>> return_that_is_due();
  std::vector<Tid> tasks_in_memory();
  Tid task_in_memory();  // that runs
  EventNumber last_event() const;
  Result<void> enter_history();
  // Makes do with fewer fork snapshots: merges the two segments that are needed least. False when
  // there are none that could be.
  bool thin_anchors(int64_t present_ns);
  // True if the end of history is where the live program stands, and makes that the present.
  bool back_to_live(const Position& position);
  std::string describe_exit(EventNumber event);

  trace::EventSource& source_;
  LiveEnd* live_;
  LiveEnd* beyond_ = nullptr;  // what it has become behind the program's end
  bool grows_ = false;
  bool uses_index_ = true;
  Stations stations_;
  bool at_live_end_ = false;
  bool signal_untold_ = false;             // at the live end, where a step came to from history
  std::optional<Position> live_position_;  // valid until the live program runs again
  std::unique_ptr<replay::Replayer> replayer_;
  // Forks of the live program may hold on to so much memory, and those of replays to half of it.
  const uint64_t memory_budget_bytes_ = snapshot::usable_memory_bytes() / 8;
  Checkpoints checkpoints_{128, memory_budget_bytes_ / 2};
  Unreached unreached_;
  SearchOptions search_options_;
  uint64_t searched_by_workers_ = 0;
  const Progress* progress_ = nullptr;
  std::optional<Position> searched_to_;  // while it searches back
  std::optional<Trail> trail_;           // of the guest that ran last
  int64_t fork_ns_ = 0;                  // what making the last checkpoint took
  std::map<EventNumber, std::map<uint32_t, replay::Anchor>> anchors_;
  std::map<Position, uint64_t> live_pages_;  // that changed in front of each live snapshot

  std::optional<replay::Guest> guest_;
  std::optional<Window> window_;
  size_t window_step_ = 0;
  int64_t present_ns_ = 0;
  StopPoints points_;
  EventNumber beginning_{};
  int32_t process_ = 0;
  std::optional<Told> told_;
  std::shared_ptr<const Kin> kin_;
  // The return of a caught call that made a process: told behind that.
  std::optional<Told> return_due_;
  std::optional<Program> program_;
};

}  // namespace rchk::timeline
