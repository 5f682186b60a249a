#include "engine/replay/tree_replay.h"

#include <algorithm>
#include <ctime>
#include <functional>
#include <map>
#include <utility>

#include "engine/replay/job_board.h"
#include "engine/replay/replayer.h"
#include "engine/replay/worker_processes.h"
#include "engine/trace/event_runs.h"

namespace rchk::replay {

using trace::ProcessIndex;

namespace {

using Board = JobBoard<ReplayTotals>;

// The shared mappings that come by an event.
std::vector<const snapshot::Mapping*> shared_mappings(const trace::Event& event) {
  std::vector<const snapshot::Mapping*> found;
  const auto look = [&found](const snapshot::Mapping& mapping) {
    if (mapping.shared) found.push_back(&mapping);
  };
  const auto look_at_changes = [&look](const std::vector<trace::AddressSpaceChange>& changes) {
    for (const trace::AddressSpaceChange& change : changes) {
      if (const auto* map = std::get_if<trace::MapChange>(&change)) look(map->mapping);
    }
  };
  if (const auto* exec = std::get_if<trace::ExecEvent>(&event.body)) {
    for (const snapshot::Mapping& mapping : exec->mappings) look(mapping);
  } else if (const auto* call = std::get_if<trace::SyscallEvent>(&event.body)) {
    look_at_changes(call->changes);
  } else if (const auto* memory = std::get_if<trace::MemoryEvent>(&event.body)) {
    look_at_changes(memory->changes);
  }
  return found;
}

// Sets of numbers that grow together.
class Unions {
 public:
  uint32_t find(uint32_t number) {
    while (parents_.size() <= number) parents_.push_back(static_cast<uint32_t>(parents_.size()));
    while (parents_[number] != number) {
      parents_[number] = parents_[parents_[number]];
      number = parents_[number];
    }
    return number;
  }
  void join(uint32_t a, uint32_t b) {
    const uint32_t of_a = find(a), of_b = find(b);
    parents_[std::max(of_a, of_b)] = std::min(of_a, of_b);
  }

 private:
  std::vector<uint32_t> parents_;
};

}  // namespace

// The events of one process from its beginning, as numbered in the recording.
class TreeReplay::Strand final : public trace::PartOfRecording {
 public:
  explicit Strand(trace::EventSource& recording) : PartOfRecording(recording) {}

  trace::EventRuns& runs() { return runs_; }
  uint64_t event_count() const override { return runs_.size(); }
  Result<std::shared_ptr<const trace::Event>> event(EventNumber number) override {
    if (number.value < runs_.size()) return recording_.event(runs_.at(number.value));
    return fail(ErrorKind::kMisuse,
                fmt::format("event {} was asked for; the process has {}", number, runs_.size()));
  }
  EventNumber global_number(EventNumber number) const override {
    return number.value < runs_.size() ? runs_.at(number.value)
                                       : EventNumber{recording_.event_count()};
  }
  std::optional<EventNumber> local_number(EventNumber global) const override {
    const std::optional<uint64_t> index = runs_.find(global);
    return index ? std::optional(EventNumber{*index}) : std::nullopt;
  }

  uint64_t events_before(EventNumber global) const override { return runs_.before(global); }

 private:
  trace::EventRuns runs_;
};

struct TreeReplay::Member {
  explicit Member(trace::EventSource& recording) : strand(recording) {}
  Strand strand;
  std::unique_ptr<Replayer> replayer;
  std::optional<Guest> guest;  // while it lives
  bool ended = false;
};

// Replays families in one process, one after the other.
class TreeReplay::Hand {
 public:
  // Behind each event of a member, with its number in the recording.
  using OnEvent = std::function<Result<void>(EventNumber)>;

  static Result<Hand> create(TreeReplay& whole, std::optional<int> cpu, OnEvent on_event) {
    Hand hand(whole, std::move(on_event));
    RCHK_TRY_ASSIGN(hand.root_, Replayer::create(*hand.nothing_, cpu));
    hand.root_->name_syscalls_with(whole.options_.namer);
    hand.root_->share_memory();
    return hand;
  }

  // A process's memory goes when the process does.
  Result<ReplayTotals> replay(const Family& family) {
    totals_ = {};
    for (const Step& step : family) {
      const Member& member = member_of(step.process);
      if (member.replayer == nullptr && !member.ended) RCHK_TRY(begin(step.process));
      RCHK_TRY(advance(step));
    }
    for (const Step& step : family) end(member_of(step.process));
    return totals_;
  }

 private:
  Hand(TreeReplay& whole, OnEvent on_event)
      : whole_(&whole),
        on_event_(std::move(on_event)),
        nothing_(std::make_unique<Strand>(whole.recording_)) {}

  Member& member_of(ProcessIndex index) { return *whole_->members_[index.value]; }

  // Makes the guest of a process that begins now.
  Result<void> begin(ProcessIndex index) {
    Member& member = member_of(index);
    RCHK_TRY_ASSIGN(const auto first, member.strand.event({0}));
    const bool forked = std::holds_alternative<trace::SpawnEvent>(first->body);
    const Member* parent = nullptr;
    if (forked) {
      parent = &member_of(*whole_->table_.process(index).memory_from);
      if (!parent->guest) {
        return fail(ErrorKind::kBadTrace, fmt::format("event {}: the process that forks has ended",
                                                      member.strand.global_number({0})));
      }
    }
    const Replayer& relative = forked ? *parent->replayer : *root_;
    RCHK_TRY_ASSIGN(member.replayer, Replayer::create_beside(relative, member.strand, forked));
    if (whole_->options_.restores) member.replayer->restore_snapshots();
    member.replayer->on_event(
        [this, &member](EventNumber number, const trace::Event&, const Guest&) {
          return on_event_(member.strand.global_number(number));
        });
    RCHK_TRY_ASSIGN(member.guest, forked ? member.replayer->start_as_child(*parent->guest)
                                         : member.replayer->start());
    return {};
  }

  Result<void> advance(const Step& step) {
    Member& member = member_of(step.process);
    if (member.ended) {
      return fail(ErrorKind::kBadTrace, fmt::format("event {} is of a process that has ended",
                                                    member.strand.global_number({step.last})));
    }
    AdvanceRequest request;
    request.limit = {{step.last}, 0, 0, 0};
    RCHK_TRY_ASSIGN(const Outcome outcome, member.replayer->advance(*member.guest, request));
    if (outcome.stop != AdvanceStop::kExit) return {};
    const trace::Process& process = whole_->table_.process(step.process);
    if (process.origin == trace::ProcessOrigin::kFirst) {
      // Others may have gone on in its memory.
      totals_.exit = process.end ? process.end->event : member.strand.global_number(outcome.event);
    }
    end(member);
    return {};
  }

  void end(Member& member) {
    if (std::exchange(member.ended, true)) return;
    totals_ += {member.replayer->instructions(),       member.replayer->checksums_verified(),
                member.replayer->snapshots_verified(), member.replayer->pages_verified(),
                member.replayer->snapshots_restored(), std::nullopt};
    member.guest.reset();
    member.replayer.reset();
  }

  TreeReplay* whole_;
  OnEvent on_event_;
  std::unique_ptr<Strand> nothing_;  // the source of `root_`
  std::unique_ptr<Replayer> root_;   // holds what all replayers have in common
  ReplayTotals totals_;              // of the family that is replayed
};

// One run of all families.
class TreeReplay::Work {
 public:
  Work(TreeReplay& whole, Board board, const OnEvent& on_event, const OnProgress& on_progress)
      : whole_(whole),
        board_(std::move(board)),
        on_event_(on_event),
        on_progress_(on_progress),
        told_(whole.members_.size()) {}

  Result<ReplayTotals> run() {
    start_workers();
    RCHK_TRY_ASSIGN(Hand hand, make_hand(whole_.options_.cpu));
    for (;;) {
      RCHK_TRY(tell());
      RCHK_TRY_ASSIGN(const bool done, add_done());
      if (done) return totals_;
      if (const std::optional<size_t> family = board_.take_next(Board::kMaker)) {
        replay(hand, *family);
        continue;
      }
      workers_.any_left([this](uint32_t worker) { board_.reopen_taken_by(worker); });
      const timespec moment{0, 500'000};
      nanosleep(&moment, nullptr);
    }
  }

 private:
  void start_workers() {
    const size_t count = std::min(whole_.options_.cores.size(), whole_.families_.size() - 1);
    workers_.start(std::span(whole_.options_.cores).first(count), [this](uint32_t worker, int cpu) {
      is_worker_ = true;
      auto hand = make_hand(cpu);
      if (!hand) return;
      while (const std::optional<size_t> family = board_.take_next(worker)) {
        if (!replay(*hand, *family)) return;
      }
    });
  }

  Result<Hand> make_hand(int cpu) {
    return Hand::create(whole_, cpu, [this](EventNumber number) {
      board_.progress(family_).store(number.value + 1, std::memory_order_release);
      ++board_.work_done();
      return is_worker_ ? Result<void>() : tell();
    });
  }

  // False where a worker fails for want of something that others may have.
  bool replay(Hand& hand, size_t family) {
    family_ = family;
    board_.progress(family) = 0;
    const Result<ReplayTotals> totals = hand.replay(whole_.families_[family]);
    if (!totals && is_worker_ && !is_of_recording(totals.error())) return false;
    board_.put(family, totals.value_or(ReplayTotals()),
               totals ? Result<void>() : Failure(totals.error()));
    return true;
  }

  // Tells of the events that are next in the log, as far as they were replayed.
  Result<void> tell() {
    if (on_progress_) on_progress_(board_.work_done());
    for (; step_ < whole_.steps_.size(); ++step_) {
      const Step& step = whole_.steps_[step_];
      Strand& strand = whole_.members_[step.process.value]->strand;
      const size_t family = whole_.family_of_[step.process.value];
      // One by one only where somebody listens.
      uint64_t& next = told_[step.process.value];
      if (!on_event_) next = step.last;
      for (; next <= step.last; ++next) {
        const EventNumber number = strand.global_number({next});
        RCHK_TRY_ASSIGN(const bool replayed, has_replayed(family, number));
        if (!replayed) return {};
        // An event of two processes is told of once.
        if (!on_event_ || number.value < told_before_) continue;
        RCHK_TRY_ASSIGN(const auto event, whole_.recording_.event(number));
        told_before_ = number.value + 1;
        RCHK_TRY(on_event_(number, *event));
      }
    }
    return {};
  }

  Result<bool> has_replayed(size_t family, EventNumber number) {
    const auto has = [&] {
      return board_.progress(family).load(std::memory_order_acquire) > number.value;
    };
    if (has()) return true;
    if (board_.state(family) != Board::State::kFailed || has()) return has();
    return Failure(board_.error(family));
  }

  // Whether all of them are done.
  Result<bool> add_done() {
    if (step_ < whole_.steps_.size()) return false;
    for (; done_ < board_.count(); ++done_) {
      const Board::State state = board_.state(done_);
      if (state == Board::State::kFailed) return Failure(board_.error(done_));
      if (state != Board::State::kDone) return false;
      totals_ += board_.found(done_);
    }
    return true;
  }

  TreeReplay& whole_;
  Board board_;
  const OnEvent& on_event_;
  const OnProgress& on_progress_;
  WorkerProcesses workers_;
  bool is_worker_ = false;
  size_t family_ = 0;           // that this process replays
  size_t step_ = 0;             // of which not all was told
  std::vector<uint64_t> told_;  // so many events of each process
  uint64_t told_before_ = 0;    // all events before that one, at least
  size_t done_ = 0;             // so many families are in the totals
  ReplayTotals totals_;
};

TreeReplay::TreeReplay(trace::EventSource& recording, ParallelOptions options)
    : recording_(recording), options_(std::move(options)) {}
TreeReplay::~TreeReplay() = default;

Result<std::unique_ptr<TreeReplay>> TreeReplay::create(trace::EventSource& recording,
                                                       ParallelOptions options) {
  std::unique_ptr<TreeReplay> tree(new TreeReplay(recording, std::move(options)));
  RCHK_TRY(tree->sort_events());
  return tree;
}

Result<void> TreeReplay::sort_events() {
  const uint64_t count = recording_.event_count();
  Unions kin;
  std::map<std::pair<uint64_t, uint64_t>, uint32_t> users;  // by the file's device and inode
  for (EventNumber number{0}; number.value < count; number = number.next()) {
    RCHK_TRY_ASSIGN(const auto event, recording_.event(number));
    RCHK_TRY_ASSIGN(const trace::ProcessTable::Owners owners, table_.add(*event));
    while (members_.size() < table_.processes().size()) {
      members_.push_back(std::make_unique<Member>(recording_));
    }
    if (owners.left) add(*owners.left, number);
    add(owners.memory, number);
    const uint32_t process = owners.memory.value;
    const auto* spawn = std::get_if<trace::SpawnEvent>(&event->body);
    if (spawn != nullptr && spawn->kind == trace::SpawnKind::kFork) {
      kin.join(process, table_.process(owners.memory).memory_from->value);
    }
    for (const snapshot::Mapping* mapping : shared_mappings(*event)) {
      std::pair<uint64_t, uint64_t> file{};
      if (mapping->backing) {
        RCHK_TRY_ASSIGN(const trace::FileInfo info, recording_.file_info(mapping->backing->file));
        file = {info.device, info.inode};
      }
      kin.join(process, users.try_emplace(file, process).first->second);
    }
  }
  // One alone replays all in the order in which it is to tell of it.
  const bool alone = options_.cores.empty();
  std::map<uint32_t, uint32_t> families;  // by what stands for one among its kin
  for (uint32_t process = 0; process < members_.size(); ++process) {
    const uint32_t founder = alone ? 0 : kin.find(process);
    const auto next = static_cast<uint32_t>(families.size());
    family_of_.push_back(families.try_emplace(founder, next).first->second);
  }
  families_.resize(families.size());
  for (const Step& step : steps_) families_[family_of_[step.process.value]].push_back(step);
  return {};
}

void TreeReplay::add(ProcessIndex process, EventNumber event) {
  trace::EventRuns& runs = members_[process.value]->strand.runs();
  runs.add(event);
  if (steps_.empty() || steps_.back().process != process) steps_.push_back({process, 0});
  steps_.back().last = runs.size() - 1;
}

Result<ReplayTotals> TreeReplay::run(const OnEvent& on_event, const OnProgress& on_progress) {
  RCHK_TRY_ASSIGN(Board board, Board::create(families_.size(), Board::Failures::kAreOne));
  Work work(*this, std::move(board), on_event, on_progress);
  return work.run();
}

}  // namespace rchk::replay
