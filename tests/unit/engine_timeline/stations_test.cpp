// A timeline that begins at page snapshots, against one that always comes from the start.

#include "engine/timeline/stations.h"

#include <algorithm>
#include <random>

#include "engine/trace/reader.h"
#include "engine/trace/writer.h"
#include "tests/unit/engine_timeline/tiny_guest.h"

namespace rchk::timeline::test {
namespace {

class StationsTest : public testing::Test {
 protected:
  void SetUp() override {
    program_ = write_program(TinyGuest::kRounds);
    recording_ = program_ + ".rchk";
    record::RecorderOptions options;
    options.program.arguments = {program_};
    options.snapshot_interval = std::chrono::milliseconds(0);
    options.snapshot_overhead_percent = 1e9;
    {
      const auto writer =
          value_of(trace::TraceWriter::create(recording_, record::Recorder::describe(options)));
      const auto recorder = value_of(record::Recorder::start(options, *writer));
      while (value_of(recorder->run({})).cause != record::StopCause::kExited) continue;
      ASSERT_TRUE(writer->close());
    }
    reader_ = value_of(trace::TraceReader::open(recording_));
    ASSERT_NE(reader_->snapshots(), nullptr);
    ASSERT_GE(reader_->snapshots()->marks().size(), kRounds / 2);
    reference_ = value_of(Timeline::open(*reader_, std::nullopt, {}));
    reference_->set_restore_cost({INT64_MAX / 2, 0});
  }
  void TearDown() override {
    unlink(program_.c_str());
    unlink(recording_.c_str());
  }

  // One for which beginning at a snapshot costs nothing.
  std::unique_ptr<Timeline> open() {
    auto timeline = value_of(Timeline::open(*reader_, std::nullopt, {}));
    timeline->set_restore_cost({INT64_MIN / 4, 0});
    return timeline;
  }
  std::vector<State> all_states() {
    std::vector<State> states{state_of(*reference_)};
    while (forward(*reference_, RunKind::kStep).kind == StopKind::kStepped) {
      states.push_back(state_of(*reference_));
    }
    return states;
  }

  std::string program_, recording_;
  std::unique_ptr<trace::TraceReader> reader_;
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

}  // namespace
}  // namespace rchk::timeline::test
