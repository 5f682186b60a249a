// A replay in stretches, by several processes, against one from the start to the end.

#include "engine/replay/parallel_replay.h"

#include <csignal>

#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/replay/replayer.h"
#include "tests/unit/engine_timeline/tiny_guest.h"

namespace rchk::timeline::test {
namespace {

using replay::ParallelReplay;
using replay::ReplayTotals;
using trace::Event;
using trace::SnapshotNumber;

class ParallelReplayTest : public testing::Test {
 protected:
  void TearDown() override {
    EXPECT_EQ(-1, waitpid(-1, nullptr, WNOHANG | __WALL));  // nobody is left, not even dead
  }
  Result<ReplayTotals> replay(size_t workers) {
    const int cpu = sched_getcpu();
    RCHK_TRY_ASSIGN(
        ParallelReplay whole,
        ParallelReplay::plan(source_, {cpu, std::vector<int>(workers, cpu), false, true, {}}));
    EXPECT_GE(whole.stretches(), kRounds / 2);
    EXPECT_EQ(workers, whole.workers());
    return whole.run(
        [this](EventNumber number, const Event&) {
          told_.push_back(number);
          return Result<void>();
        },
        {});
  }
  void expect_all(const ReplayTotals& totals) {
    const auto replayer = value_of(replay::Replayer::create(guest_.reader(), std::nullopt));
    replay::Guest guest = value_of(replayer->start());
    const replay::Outcome outcome = value_of(replayer->advance(guest, {}));
    EXPECT_EQ(replayer->instructions(), totals.instructions);
    EXPECT_EQ(replayer->checksums_verified(), totals.checksums);
    EXPECT_EQ(replayer->snapshots_verified(), totals.snapshots);
    EXPECT_EQ(replayer->pages_verified(), totals.snapshot_pages);
    EXPECT_EQ(outcome.event, totals.exit);
    expect_told(source_.event_count());
  }
  // Of so many events, in order.
  void expect_told(uint64_t count) {
    ASSERT_EQ(count, told_.size());
    for (uint64_t i = 0; i < count; ++i) EXPECT_EQ(EventNumber{i}, told_[i]);
  }

  SnapshottedGuest guest_;
  AlteredRecording source_{guest_.reader()};
  std::vector<EventNumber> told_;
};

TEST_F(ParallelReplayTest, ComesToTheSame) {
  for (const size_t workers : {0, 1, 2, 4}) {
    told_.clear();
    expect_all(value_of(replay(workers)));
  }
}

TEST_F(ParallelReplayTest, DoesWithoutWorkersThatEnd) {
  const pid_t maker = getpid();
  for (const uint64_t end : {uint64_t{1}, source_.event_count() / 2, source_.event_count() - 1}) {
    source_.alter_event = [=](EventNumber number, Event&) {
      if (getpid() != maker && number.value >= end) kill(getpid(), SIGKILL);
    };
    told_.clear();
    expect_all(value_of(replay(3)));
  }
}

TEST_F(ParallelReplayTest, DoesAgainWhatFailsForWantOfSomething) {
  const pid_t maker = getpid();
  source_.alter_pages = [=](SnapshotNumber, std::vector<snapshot::PageChange>&) {
    // Makes a worker's next descriptor fail.
    const rlimit none{0, 0};
    if (getpid() != maker) setrlimit(RLIMIT_NOFILE, &none);
  };
  expect_all(value_of(replay(2)));
}

// Whoever comes upon a divergence, it is told as in a replay from the start.
TEST_F(ParallelReplayTest, TellsTheFirstDivergence) {
  const uint64_t wrong = source_.event_count() / 2;
  source_.alter_event = [&](EventNumber number, Event& event) {
    if (number.value < wrong) return;
    if (auto* call = std::get_if<trace::SyscallEvent>(&event.body)) call->before.rbx ^= 1;
  };
  std::string told;
  for (const size_t workers : {0, 1, 3}) {
    const auto result = replay(workers);
    ASSERT_FALSE(result);
    EXPECT_EQ(ErrorKind::kDivergence, result.error().kind);
    if (told.empty()) told = result.error().context;
    EXPECT_EQ(told, result.error().context);
  }
  const auto replayer = value_of(replay::Replayer::create(source_, std::nullopt));
  replay::Guest guest = value_of(replayer->start());
  const auto outcome = replayer->advance(guest, {});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().context, told);
}

// A page that a snapshot lacks shows where the stretch before ends.
TEST_F(ParallelReplayTest, TellsOfASnapshotThatIsNotWhatTheReplayCameTo) {
  source_.alter_pages = [](SnapshotNumber number, std::vector<snapshot::PageChange>& pages) {
    if (number.value != 3) return;
    std::erase_if(pages, [](const auto& change) { return change.page == kData; });
  };
  for (const size_t workers : {0, 2}) {
    const auto result = replay(workers);
    ASSERT_FALSE(result);
    EXPECT_EQ(ErrorKind::kDivergence, result.error().kind);
    EXPECT_NE(std::string::npos, result.error().context.find("snapshot 3"))
        << result.error().context;
  }
}

}  // namespace
}  // namespace rchk::timeline::test
