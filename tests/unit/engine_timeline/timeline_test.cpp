#include "engine/timeline/timeline.h"

#include <algorithm>
#include <random>

#include "tests/unit/engine_timeline/tiny_guest.h"

namespace rchk::timeline::test {
namespace {

class TimelineTest : public testing::Test {
 protected:
  // Every state of the recording, by single steps from its start.
  std::vector<State> all_states() {
    std::vector<State> states{state_of(timeline())};
    while (forward(timeline(), RunKind::kStep).kind == StopKind::kStepped) {
      states.push_back(state_of(timeline()));
    }
    return states;
  }
  Timeline& timeline() { return guest_.timeline(); }
  void seek(const Position& position) {
    const auto sought = timeline().seek(position);
    ASSERT_TRUE(sought) << sought.error().message();
  }

  RecordedGuest guest_;
};

TEST_F(TimelineTest, BeginsAtTheStart) {
  EXPECT_EQ(Position{}, value_of(timeline().position()));
  EXPECT_EQ(kCode, value_of(timeline().registers()).pc());
  EXPECT_FALSE(timeline().is_live());
  EXPECT_EQ(StopKind::kHistoryBegin, backward(timeline(), RunKind::kStep).kind);
  EXPECT_EQ(StopKind::kHistoryBegin, backward(timeline(), RunKind::kContinue).kind);
}

TEST_F(TimelineTest, RunsToTheEnd) {
  const TimelineStop stop = forward(timeline(), RunKind::kContinue);
  EXPECT_EQ(StopKind::kExiting, stop.kind);
  EXPECT_EQ("the program is about to exit with status 3", stop.text);
  EXPECT_EQ(60u, value_of(timeline().registers()).rax);
}

TEST_F(TimelineTest, SeeksToEveryPositionInAnyOrder) {
  std::vector<State> states = all_states();
  ASSERT_GT(states.size(), kRounds * 18);
  std::shuffle(states.begin(), states.end(), std::mt19937(1));
  for (const State& state : states) {
    seek(state.position);
    ASSERT_EQ("", difference(state, state_of(timeline()))) << fmt::format("{}", state.position);
  }
}

TEST_F(TimelineTest, StepsBackFromTheEndToTheStart) {
  const std::vector<State> states = all_states();
  for (size_t i = states.size() - 1; i-- > 0;) {
    ASSERT_EQ(StopKind::kStepped, backward(timeline(), RunKind::kStep).kind);
    ASSERT_EQ("", difference(states[i], state_of(timeline())))
        << fmt::format("{}", states[i].position);
  }
  EXPECT_EQ(StopKind::kHistoryBegin, backward(timeline(), RunKind::kStep).kind);
}

TEST_F(TimelineTest, StepsToAndFroInAWindow) {
  const std::vector<State> states = all_states();
  std::mt19937 random(7);
  size_t here = states.size() - 1;
  for (int i = 0; i < 2000; ++i) {
    const bool back = here > 0 && (here + 1 == states.size() || random() % 2 == 0);
    here += back ? -1 : 1;
    const TimelineStop stop =
        back ? backward(timeline(), RunKind::kStep) : forward(timeline(), RunKind::kStep);
    ASSERT_EQ(StopKind::kStepped, stop.kind);
    ASSERT_EQ("", difference(states[here], state_of(timeline())))
        << fmt::format("{}", states[here].position);
  }
}

TEST_F(TimelineTest, SeeksIntoAStringInstruction) {
  const std::vector<State> states = all_states();
  const auto at = std::find_if(states.begin(), states.end(), [](const State& state) {
    return state.registers.rcx == 100 && state.registers.rdi == kData.value + 192;
  });
  ASSERT_NE(states.end(), at);
  Position inside = at->position;
  inside.rep_iterations = 40;
  seek(inside);
  const Registers registers = value_of(timeline().registers());
  EXPECT_EQ(at->registers.rip, registers.rip);
  EXPECT_EQ(60u, registers.rcx);
  EXPECT_EQ(at->registers.rdi + 40, registers.rdi);
  EXPECT_EQ(inside, value_of(timeline().position()));
  // One step is the rest of it, and one back its beginning.
  EXPECT_EQ(StopKind::kStepped, forward(timeline(), RunKind::kStep).kind);
  EXPECT_EQ(std::next(at)->position, value_of(timeline().position()));
  seek(inside);
  EXPECT_EQ(StopKind::kStepped, backward(timeline(), RunKind::kStep).kind);
  EXPECT_EQ("", difference(*at, state_of(timeline())));
}

TEST_F(TimelineTest, SeeksBehindASegmentToItsEnd) {
  seek({{3}, 0, UINT64_MAX - 1, 0});
  EXPECT_EQ(EventNumber{3}, value_of(timeline().position()).event);
  EXPECT_EQ(39u, value_of(timeline().registers()).rax) << "at the system call that ends it";
}

TEST_F(TimelineTest, FindsTheSameHitsInBothDirections) {
  StopPoints points;
  points.breakpoints.push_back({subroutine(), {}});
  timeline().set_stop_points(points);
  std::vector<State> hits;
  while (forward(timeline(), RunKind::kContinue).kind == StopKind::kBreakpoint) {
    hits.push_back(state_of(timeline()));
  }
  ASSERT_EQ(kRounds, hits.size());
  for (size_t i = hits.size(); i-- > 0;) {
    ASSERT_EQ(StopKind::kBreakpoint, backward(timeline(), RunKind::kContinue).kind);
    ASSERT_EQ("", difference(hits[i], state_of(timeline())));
  }
  EXPECT_EQ(StopKind::kHistoryBegin, backward(timeline(), RunKind::kContinue).kind);
  EXPECT_EQ(Position{}, value_of(timeline().position()));
}

TEST_F(TimelineTest, FindsTheSameHitsWithACondition) {
  StopPoints points;
  points.breakpoints.push_back(
      {subroutine(), [](const Registers& registers, const ReadMemory& read) {
         uint64_t stored = 0;
         read(kData, {reinterpret_cast<uint8_t*>(&stored), sizeof(stored)});
         return registers.rbx % 3 == 0 && stored == registers.rbx;
       }});
  timeline().set_stop_points(points);
  std::vector<State> hits;
  while (forward(timeline(), RunKind::kContinue).kind == StopKind::kBreakpoint) {
    hits.push_back(state_of(timeline()));
  }
  ASSERT_EQ(kRounds / 3, hits.size());
  for (size_t i = hits.size(); i-- > 0;) {
    ASSERT_EQ(StopKind::kBreakpoint, backward(timeline(), RunKind::kContinue).kind);
    ASSERT_EQ("", difference(hits[i], state_of(timeline())));
  }
  EXPECT_EQ(StopKind::kHistoryBegin, backward(timeline(), RunKind::kContinue).kind);
}

// Forward a watchpoint stops behind the store, backward in front of it.
TEST_F(TimelineTest, FindsTheSameStoresInBothDirections) {
  for (const bool conditional : {false, true}) {
    seek({});
    StopPoints points;
    Watch watch{range_of(kData + 8, 8), translate::WatchKind::kWrite, {}};
    if (conditional) watch.condition = [](const Registers&, const ReadMemory&) { return true; };
    points.watches.push_back(watch);
    timeline().set_stop_points(points);
    std::vector<Position> stores;
    while (forward(timeline(), RunKind::kContinue).kind == StopKind::kWatchpoint) {
      Position position = value_of(timeline().position());
      --position.instructions;
      stores.push_back(position);
    }
    ASSERT_EQ(kRounds, stores.size());
    for (size_t i = stores.size(); i-- > 0;) {
      ASSERT_EQ(StopKind::kWatchpoint, backward(timeline(), RunKind::kContinue).kind);
      ASSERT_EQ(stores[i], value_of(timeline().position())) << conditional;
      // From right behind the store as well.
      Position behind = stores[i];
      ++behind.instructions;
      seek(behind);
      ASSERT_EQ(StopKind::kWatchpoint, backward(timeline(), RunKind::kContinue).kind);
      ASSERT_EQ(stores[i], value_of(timeline().position())) << conditional;
    }
    EXPECT_EQ(StopKind::kHistoryBegin, backward(timeline(), RunKind::kContinue).kind);
  }
}

TEST_F(TimelineTest, StepsBackThroughARange) {
  seek({{4}, 0, 0, 0});
  const AddressRange body{kCode, subroutine()};
  RunCommand back = command(RunKind::kRangeStep);
  back.range = body;
  EXPECT_EQ(StopKind::kStepped, value_of(timeline().backward(back)).kind);
  const GuestAddress pc = value_of(timeline().registers()).pc();
  EXPECT_FALSE(body.contains(pc));
  EXPECT_EQ(StopKind::kStepped, forward(timeline(), RunKind::kStep).kind);
  EXPECT_TRUE(body.contains(value_of(timeline().registers()).pc()));
}

TEST_F(TimelineTest, ADiversionChangesNothing) {
  seek({{5}, 0, 2, 0});
  const State before = state_of(timeline());
  {
    replay::Guest copy = value_of(timeline().diversion());
    EXPECT_EQ(before.registers, copy.registers);
    ASSERT_TRUE(copy.puppet->write_memory(kData, Bytes(64, 0xee)));
    ASSERT_TRUE(copy.puppet->unmap_guest(range_of(kCode, kPageSize)));
  }
  EXPECT_EQ("", difference(before, state_of(timeline())));
  EXPECT_EQ(StopKind::kStepped, backward(timeline(), RunKind::kStep).kind);
  EXPECT_EQ(StopKind::kStepped, forward(timeline(), RunKind::kStep).kind);
  EXPECT_EQ("", difference(before, state_of(timeline())));
}

}  // namespace
}  // namespace rchk::timeline::test
