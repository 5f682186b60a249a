// A timeline that begins at page snapshots, against one that always comes from the start.

#include "engine/timeline/stations.h"

#include <algorithm>
#include <random>

#include <sched.h>
#include <sys/wait.h>

#include "tests/unit/engine_timeline/tiny_guest.h"

namespace rchk::timeline::test {
namespace {

class StationsTest : public testing::Test {
 protected:
  void SetUp() override {
    reader_ = &guest_.reader();
    reference_ = value_of(Timeline::open(*reader_, std::nullopt, {}));
    reference_->set_restore_cost({INT64_MAX / 2, 0});
  }

  // One for which beginning at a snapshot costs nothing.
  std::unique_ptr<Timeline> open() {
    auto timeline = value_of(Timeline::open(*reader_, std::nullopt, {}));
    timeline->set_restore_cost({INT64_MIN / 4, 0});
    return timeline;
  }
  // One that has so many workers search, from the first stretch on.
  std::unique_ptr<Timeline> open_with_crew(size_t workers) {
    auto timeline = open();
    timeline->set_search_options({std::vector<int>(workers, sched_getcpu()), 0, true});
    return timeline;
  }
  // Goes back from the end until history begins, comparing each stop with the reference's.
  int compare_all_hits(Timeline& timeline, const StopPoints& points) {
    for (Timeline* one : {reference_.get(), &timeline}) {
      one->set_stop_points(points);
      EXPECT_TRUE(one->seek_to_end());
    }
    for (int found = 0;; ++found) {
      const TimelineStop expected = backward(*reference_, RunKind::kContinue);
      const TimelineStop stop = backward(timeline, RunKind::kContinue);
      EXPECT_EQ(expected.kind, stop.kind);
      EXPECT_EQ(expected.index, stop.index);
      EXPECT_EQ(expected.number, stop.number);
      EXPECT_EQ("", difference(state_of(*reference_), state_of(timeline)));
      if (!HasFailure() && stop.kind != StopKind::kHistoryBegin) continue;
      EXPECT_GT(timeline.searched_by_workers(), 0u);
      return found;
    }
  }
  static StopPoints quiet() {
    StopPoints points;
    points.quiet_signals = ~uint64_t{0};
    return points;
  }
  std::vector<State> all_states() {
    std::vector<State> states{state_of(*reference_)};
    while (forward(*reference_, RunKind::kStep).kind == StopKind::kStepped) {
      states.push_back(state_of(*reference_));
    }
    return states;
  }

  SnapshottedGuest guest_;
  trace::TraceReader* reader_ = nullptr;
  std::unique_ptr<Timeline> reference_;
};

TEST_F(StationsTest, SeeksWithoutTheWayFromTheStart) {
  std::vector<State> states = all_states();
  const uint64_t all = reference_->replayer().instructions();
  std::shuffle(states.begin(), states.end(), std::mt19937(1));
  const Stations stations(*reader_);
  states.resize(40);
  for (const State& state : states) {
    const auto timeline = open();
    ASSERT_TRUE(timeline->seek(state.position));
    ASSERT_EQ("", difference(state, state_of(*timeline))) << fmt::format("{}", state.position);
    if (stations.at_or_before(state.position) == nullptr) continue;
    // No more than from one snapshot to the next but one.
    EXPECT_LT(timeline->replayer().instructions(), all / 3) << fmt::format("{}", state.position);
  }
}

TEST_F(StationsTest, StepsBackOverThem) {
  const std::vector<State> states = all_states();
  const auto timeline = open();
  ASSERT_TRUE(timeline->seek(states.back().position));
  for (size_t i = states.size() - 1; i-- > 0;) {
    ASSERT_EQ(StopKind::kStepped, backward(*timeline, RunKind::kStep).kind);
    ASSERT_EQ("", difference(states[i], state_of(*timeline)))
        << fmt::format("{}", states[i].position);
  }
}

TEST_F(StationsTest, FindsTheSameWritesGoingBack) {
  const auto timeline = open();
  StopPoints points;
  points.watches.push_back({range_of(kData, 8), translate::WatchKind::kWrite, {}});
  points.quiet_signals = ~uint64_t{0};
  for (Timeline* one : {reference_.get(), timeline.get()}) {
    one->set_stop_points(points);
    ASSERT_TRUE(one->seek_to_end());
  }
  for (int found = 0;; ++found) {
    const TimelineStop expected = backward(*reference_, RunKind::kContinue);
    const TimelineStop stop = backward(*timeline, RunKind::kContinue);
    ASSERT_EQ(expected.kind, stop.kind);
    ASSERT_EQ("", difference(state_of(*reference_), state_of(*timeline)));
    if (stop.kind == StopKind::kHistoryBegin) {
      EXPECT_GT(found, 0);
      return;
    }
  }
}

TEST_F(StationsTest, PassesOverWhatWasNotTouched) {
  // A page that nothing is ever mapped at: between two snapshots nothing needs to run.
  const auto timeline = open();
  ASSERT_TRUE(timeline->seek_to_end());
  const uint64_t before = timeline->replayer().instructions();
  StopPoints points;
  points.watches.push_back({range_of({0x7000000}, 8), translate::WatchKind::kWrite, {}});
  points.quiet_signals = ~uint64_t{0};
  timeline->set_stop_points(points);
  EXPECT_EQ(StopKind::kHistoryBegin, backward(*timeline, RunKind::kContinue).kind);
  reference_->set_stop_points(points);
  ASSERT_TRUE(reference_->seek_to_end());
  const uint64_t reference_before = reference_->replayer().instructions();
  EXPECT_EQ(StopKind::kHistoryBegin, backward(*reference_, RunKind::kContinue).kind);
  EXPECT_LT(timeline->replayer().instructions() - before,
            (reference_->replayer().instructions() - reference_before) / 2);
}

TEST_F(StationsTest, RuleOutNothingForABreakpointThatWasNotLookedFor) {
  const auto timeline = open();
  StopPoints points = quiet();
  timeline->set_stop_points(points);
  ASSERT_TRUE(timeline->seek_to_end());
  EXPECT_EQ(StopKind::kHistoryBegin, backward(*timeline, RunKind::kContinue).kind);
  points.breakpoints.push_back({subroutine(), {}});
  timeline->set_stop_points(points);
  ASSERT_TRUE(timeline->seek_to_end());
  EXPECT_EQ(StopKind::kBreakpoint, backward(*timeline, RunKind::kContinue).kind);
}

TEST_F(StationsTest, WorkersAndTheirMakerFindTheSame) {
  const auto timeline = open();
  timeline->set_search_options({std::vector<int>(2, sched_getcpu()), 0});
  StopPoints points = quiet();
  points.breakpoints.push_back({subroutine(), {}});
  points.watches.push_back({range_of(kData + 8, 8), translate::WatchKind::kWrite, {}});
  for (Timeline* one : {reference_.get(), timeline.get()}) {
    one->set_stop_points(points);
    ASSERT_TRUE(one->seek_to_end());
  }
  for (StopKind kind{}; kind != StopKind::kHistoryBegin;) {
    kind = backward(*reference_, RunKind::kContinue).kind;
    ASSERT_EQ(kind, backward(*timeline, RunKind::kContinue).kind);
    ASSERT_EQ("", difference(state_of(*reference_), state_of(*timeline)));
  }
}

TEST_F(StationsTest, WhatWasRunThroughIsNotRunAgain) {
  StopPoints points = quiet();
  points.breakpoints.push_back({{0x7000000}, {}});
  points.watches.push_back({range_of({0x7000000}, 8), translate::WatchKind::kWrite, {}});
  const auto serial = open(), shared = open_with_crew(2);
  for (Timeline* timeline : {serial.get(), shared.get()}) {
    timeline->set_stop_points(points);
    ASSERT_TRUE(timeline->seek_to_end());
    EXPECT_EQ(StopKind::kHistoryBegin, backward(*timeline, RunKind::kContinue).kind);
    ASSERT_TRUE(timeline->seek_to_end());
    const uint64_t before = timeline->replayer().instructions();
    EXPECT_EQ(StopKind::kHistoryBegin, backward(*timeline, RunKind::kContinue).kind);
    // But for what lies before the first snapshot and behind the last one.
    EXPECT_LT(timeline->replayer().instructions() - before, 100);
  }
}

TEST_F(StationsTest, WorkersFindTheSameWrites) {
  for (const translate::WatchKind kind :
       {translate::WatchKind::kWrite, translate::WatchKind::kRead, translate::WatchKind::kAccess}) {
    StopPoints points = quiet();
    points.watches.push_back({range_of(kData, 8), kind, {}});
    points.watches.push_back({range_of(kData + 16, 8), kind, {}});
    compare_all_hits(*open_with_crew(3), points);
  }
}

TEST_F(StationsTest, WorkersFindTheSameBreakpoints) {
  StopPoints points = quiet();
  points.breakpoints.push_back({subroutine(), {}});
  points.breakpoints.push_back({{0x7000000}, {}});
  points.watches.push_back({range_of(kData + 400, 8), translate::WatchKind::kWrite, {}});
  EXPECT_GE(compare_all_hits(*open_with_crew(3), points), static_cast<int>(kRounds));
}

TEST_F(StationsTest, WorkersAskConditions) {
  StopPoints points = quiet();
  points.breakpoints.push_back({subroutine(), [](const Registers& registers, const ReadMemory&) {
                                  return registers.rbx % 5 == 0;
                                }});
  points.watches.push_back({range_of(kData, 8), translate::WatchKind::kWrite,
                            [](const Registers&, const ReadMemory& read) {
                              uint64_t value = 0;
                              read(kData, {reinterpret_cast<uint8_t*>(&value), sizeof(value)});
                              return value == 3;
                            }});
  EXPECT_EQ(3, compare_all_hits(*open_with_crew(3), points));
}

TEST_F(StationsTest, WorkersLeaveLandmarksToTheLog) {
  StopPoints points = quiet();
  points.breakpoints.push_back({subroutine(), {}});
  points.syscalls.emplace();
  EXPECT_GE(compare_all_hits(*open_with_crew(2), points), static_cast<int>(3 * kRounds));
}

TEST_F(StationsTest, ASearchByWorkersCanBeInterrupted) {
  const auto timeline = open_with_crew(2);
  StopPoints points = quiet();
  points.watches.push_back({range_of(kData + 8, 8), translate::WatchKind::kRead,
                            [](const Registers&, const ReadMemory&) { return false; }});
  timeline->set_stop_points(points);
  ASSERT_TRUE(timeline->seek_to_end());
  const State before = state_of(*timeline);
  RunCommand interrupted = command(RunKind::kContinue);
  interrupted.interrupted = [] { return true; };
  EXPECT_EQ(StopKind::kInterrupted, value_of(timeline->backward(interrupted)).kind);
  EXPECT_EQ("", difference(before, state_of(*timeline)));
  EXPECT_EQ(StopKind::kHistoryBegin, backward(*timeline, RunKind::kContinue).kind);
}

TEST_F(StationsTest, WorkersAreGoneWhenTheSearchIs) {
  const auto timeline = open_with_crew(3);
  StopPoints points = quiet();
  points.watches.push_back({range_of(kData, 8), translate::WatchKind::kAccess, {}});
  timeline->set_stop_points(points);
  ASSERT_TRUE(timeline->seek_to_end());
  EXPECT_EQ(StopKind::kWatchpoint, backward(*timeline, RunKind::kContinue).kind);
  // Only puppets are left, which have stopped.
  siginfo_t ended{};
  EXPECT_EQ(0, waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT));
  EXPECT_EQ(0, ended.si_pid);
}

// A call was storing when a snapshot was taken: what its event tells of later is in memory early. A
// search does not begin there, nor at what came of it, or it would not see that store.
TEST_F(StationsTest, SearchesDoNotBeginWhereMemoryIsEarly) {
  constexpr GuestAddress kStored = kData + 400;  // another value in each round
  constexpr uint32_t kEarly = 3;
  AlteredRecording source(*reader_);
  source.alter_snapshot = [&](trace::SnapshotNumber number, trace::Snapshot& taken) {
    if (number.value == kEarly) taken.unsettled = {range_of(kStored, 8)};
  };
  source.alter_pages = [&](trace::SnapshotNumber number, std::vector<snapshot::PageChange>& pages) {
    if (number.value != kEarly) return;
    // The whole page as the next one has it: the guest reads nothing of it that differs.
    const auto next = value_of(reader_->snapshots()->changes({kEarly + 1}));
    for (snapshot::PageChange& page : pages) {
      const auto same = std::find_if(next.begin(), next.end(),
                                     [&](const auto& one) { return one.page == page.page; });
      if (page.page == kStored.page_floor() && same != next.end()) page = *same;
    }
  };
  const auto timeline = value_of(Timeline::open(source, std::nullopt, {}));
  timeline->set_restore_cost({INT64_MIN / 4, 0});
  const Position early{reader_->snapshots()->marks()[kEarly].event, 0, 0, 0};
  Position behind = early;
  behind.instructions = 1;
  StopPoints points;
  points.watches.push_back({range_of(kStored, 8), translate::WatchKind::kWrite, {}});
  for (const bool conditional : {false, true}) {
    if (conditional) {
      points.watches.clear();
      points.breakpoints.push_back(
          {subroutine(), [](const Registers&, const ReadMemory&) { return true; }});
    }
    ASSERT_TRUE(timeline->seek(behind));
    // From a checkpoint there, and from one that a replay from there has left.
    ASSERT_TRUE(timeline->seek({{early.event.value + 1}, 0, 0, 0}));
    for (Timeline* one : {reference_.get(), timeline.get()}) {
      one->set_stop_points(points);
      ASSERT_TRUE(one->seek_to_end());
    }
    uint64_t hits = 0;
    for (StopKind kind{}; kind != StopKind::kHistoryBegin; ++hits) {
      kind = backward(*reference_, RunKind::kContinue).kind;
      ASSERT_EQ(kind, backward(*timeline, RunKind::kContinue).kind);
      ASSERT_EQ(value_of(reference_->position()), value_of(timeline->position()));
    }
    EXPECT_GE(hits, kRounds);
  }
}

}  // namespace
}  // namespace rchk::timeline::test
