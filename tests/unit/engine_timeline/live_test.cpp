// History of a program that is still running: anchors, and state matching where registers say
// little.

#include <chrono>

#include "tests/unit/engine_timeline/tiny_guest.h"

namespace rchk::timeline::test {
namespace {

uint64_t counter_at(Timeline& timeline, GuestAddress address = kData) {
  uint64_t value = 0;
  EXPECT_EQ(sizeof(value),
            timeline.read_memory(address, {reinterpret_cast<uint8_t*>(&value), sizeof(value)}));
  return value;
}

TEST(LiveHistory, GoesBackFromTheEndOfTheProgram) {
  LiveGuest guest(TinyGuest::kRounds);
  Timeline& timeline = guest.timeline();
  std::vector<State> states{state_of(timeline)};
  while (forward(timeline, RunKind::kStep).kind == StopKind::kStepped) {
    states.push_back(state_of(timeline));
  }
  EXPECT_TRUE(timeline.is_live());
  // Steps in a live program are made by the processor: each left an anchor where it was looked at.
  for (size_t i = states.size() - 1; i-- > 0;) {
    ASSERT_EQ(StopKind::kStepped, backward(timeline, RunKind::kStep).kind);
    ASSERT_EQ("", difference_apart_from_position(states[i], state_of(timeline))) << i;
  }
  EXPECT_EQ(StopKind::kHistoryBegin, backward(timeline, RunKind::kStep).kind);
  StopPoints points;
  points.breakpoints.push_back({subroutine(), {}});
  timeline.set_stop_points(points);
  for (uint64_t i = 0; i < kRounds; ++i) {
    ASSERT_EQ(StopKind::kBreakpoint, forward(timeline, RunKind::kContinue).kind);
    EXPECT_EQ(kRounds - i, value_of(timeline.registers()).rbx);
  }
  EXPECT_EQ(StopKind::kExiting, forward(timeline, RunKind::kContinue).kind);
  EXPECT_TRUE(timeline.is_live());
}

// All registers are equal in each round of the loop: memory alone tells where it was stopped.
TEST(LiveHistory, FindsAStateThatOnlyMemoryTells) {
  LiveGuest guest(TinyGuest::kSpin);
  Timeline& timeline = guest.timeline();
  for (int i = 0; i < 3; ++i) {
    const uint64_t before = counter_at(timeline);
    ASSERT_EQ(StopKind::kInterrupted, value_of(timeline.forward(for_milliseconds(90))).kind);
    EXPECT_TRUE(timeline.is_live());
    const State here = state_of(timeline);
    const uint64_t rounds = counter_at(timeline);
    ASSERT_GT(rounds - before, 1'000'000u);
    const uint64_t stops = timeline.replayer().engine().statistics().host_stops;
    ASSERT_EQ(StopKind::kStepped, backward(timeline, RunKind::kStep).kind);
    EXPECT_LE(rounds - counter_at(timeline), 1u);
    // The first pass finds the word that tells, the second the place; then come a few stops to
    // make the translations, and the window's thousand.
    EXPECT_LT(timeline.replayer().engine().statistics().host_stops - stops, 3'000u);
    ASSERT_EQ(StopKind::kStepped, forward(timeline, RunKind::kStep).kind);
    EXPECT_TRUE(timeline.is_live());
    EXPECT_EQ("", difference(here, state_of(timeline)));
  }
  // Back to the start, and to where a count says.
  StopPoints points;
  points.watches.push_back(
      {range_of(kData, 8), translate::WatchKind::kWrite,
       [](const Registers& registers, const ReadMemory&) { return registers.rax == 123'456; }});
  EXPECT_EQ(StopKind::kHistoryBegin, backward(timeline, RunKind::kContinue).kind);
  EXPECT_EQ(0u, counter_at(timeline));
}

// The string instruction takes milliseconds: most interrupts come inside of it.
TEST(LiveHistory, FindsAStateInsideOfAStringInstruction) {
  LiveGuest guest(TinyGuest::kFill);
  Timeline& timeline = guest.timeline();
  int inside = 0, from_beginning = 0;
  for (int i = 0; i < 6; ++i) {
    ASSERT_EQ(StopKind::kInterrupted, value_of(timeline.forward(for_milliseconds(20 + i))).kind);
    const State here = state_of(timeline);
    const uint64_t filled = here.registers.rdi;
    const bool is_inside = here.registers.rcx > 0 && here.registers.rcx < kFillBytes;
    inside += is_inside;
    ASSERT_EQ(StopKind::kStepped, backward(timeline, RunKind::kStep).kind);
    if (is_inside) {
      const Registers back = value_of(timeline.registers());
      EXPECT_EQ(here.registers.rip, back.rip);
      // The instruction's beginning, or an earlier stop inside of it.
      EXPECT_GT(back.rcx, here.registers.rcx);
      EXPECT_EQ(kData.value + kFillBytes, back.rdi + back.rcx);
      from_beginning += back.rcx == kFillBytes;
    }
    ASSERT_EQ(StopKind::kStepped, forward(timeline, RunKind::kStep).kind);
    if (!timeline.is_live()) {
      const auto sought = timeline.seek_to_end();
      ASSERT_TRUE(sought);
    }
    EXPECT_EQ("", difference(here, state_of(timeline))) << fmt::format("{:#x}", filled);
  }
  EXPECT_GT(inside, 0);
  EXPECT_GT(from_beginning, 0);
}

// A processor may have stored more than the registers say when it is interrupted; here the recorded
// state is made to look so.
TEST(LiveHistory, FindsAStateThatHasMoreStoredThanItsRegistersSay) {
  constexpr size_t kAhead = 64;
  LiveGuest guest(TinyGuest::kFill);
  Timeline& timeline = guest.timeline();
  State here;
  do {
    ASSERT_EQ(StopKind::kInterrupted, value_of(timeline.forward(for_milliseconds(20))).kind);
    here = state_of(timeline);
  } while (here.registers.rcx < kAhead || here.registers.rcx >= kFillBytes);
  replay::Anchor* anchor = timeline.next_anchor(here.position.event, here.position.anchor - 1);
  ASSERT_NE(nullptr, anchor);
  ASSERT_EQ(here.position.anchor, anchor->number);
  const auto stored = static_cast<uint8_t>(here.registers.rax);
  const AddressRange ahead = range_of({here.registers.rdi}, kAhead);
  anchor->target.read = [read = anchor->target.read, ahead, stored](GuestAddress address,
                                                                    std::span<uint8_t> bytes) {
    const size_t got = read(address, bytes);
    for (size_t i = 0; i < got; ++i) {
      if (ahead.contains(address + i)) bytes[i] = stored;
    }
    return got;
  };
  replay::Guest again = value_of(timeline.replayer().start());
  replay::AdvanceRequest request;
  request.limit = here.position;
  ASSERT_EQ(replay::AdvanceStop::kLimit,
            value_of(timeline.replayer().advance(again, request)).stop);
  EXPECT_EQ(here.position, again.position);
  EXPECT_EQ(here.registers.rcx, again.registers.rcx);
  Bytes bytes(kAhead + 1);
  ASSERT_EQ(bytes.size(), again.puppet->read_memory(ahead.begin, bytes));
  EXPECT_EQ(Bytes(kAhead, stored), Bytes(bytes.begin(), bytes.end() - 1));
  EXPECT_NE(stored, bytes.back()) << "more than what was stored ahead";
}

}  // namespace
}  // namespace rchk::timeline::test
