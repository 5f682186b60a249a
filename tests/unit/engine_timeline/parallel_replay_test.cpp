// A replay in pieces, by several processes, against one from the start to the end.

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
  explicit ParallelReplayTest(trace::TraceReader& recording) : source_(recording) {}
  void TearDown() override {
    EXPECT_EQ(-1, waitpid(-1, nullptr, WNOHANG | __WALL));  // nobody is left, not even dead
  }
  Result<ReplayTotals> replay(size_t workers, bool restores, bool cuts_always) {
    const int cpu = sched_getcpu();
    RCHK_TRY_ASSIGN(ParallelReplay whole,
                    ParallelReplay::plan(
                        source_, {cpu, std::vector<int>(workers, cpu), restores, cuts_always, {}}));
    pieces_ = whole.pieces();
    EXPECT_EQ(std::min(workers, pieces_ - 1), whole.workers());
    told_.clear();
    progress_ = 0;
    return whole.run(
        [this](EventNumber number, const Event&) {
          told_.push_back(number);
          return Result<void>();
        },
        [this](uint64_t events) { progress_ = events; });
  }
  void expect_same(const ReplayTotals& expected, const ReplayTotals& totals) {
    EXPECT_EQ(expected.instructions, totals.instructions);
    EXPECT_EQ(expected.checksums, totals.checksums);
    EXPECT_EQ(expected.snapshots, totals.snapshots);
    EXPECT_EQ(expected.snapshot_pages, totals.snapshot_pages);
    EXPECT_EQ(expected.snapshots_restored, totals.snapshots_restored);
    EXPECT_EQ(expected.exit, totals.exit);
    expect_told(source_.event_count());
    EXPECT_GE(progress_, source_.event_count());
  }
  // Of so many events, in order.
  void expect_told(uint64_t count) {
    ASSERT_EQ(count, told_.size());
    for (uint64_t i = 0; i < count; ++i) EXPECT_EQ(EventNumber{i}, told_[i]);
  }
  void end_workers_at(uint64_t end) {
    source_.alter_event = [end, maker = getpid()](EventNumber number, Event&) {
      if (getpid() != maker && number.value >= end) kill(getpid(), SIGKILL);
    };
  }
  // From there on nothing agrees.
  void falsify_from(uint64_t wrong) {
    source_.alter_event = [wrong](EventNumber number, Event& event) {
      if (number.value < wrong) return;
      if (auto* call = std::get_if<trace::SyscallEvent>(&event.body)) call->before.rbx ^= 1;
    };
  }

  AlteredRecording source_;
  std::vector<EventNumber> told_;
  size_t pieces_ = 0;
  uint64_t progress_ = 0;
};

// Of one process, cut at each of its page snapshots.
class StretchesTest : public ParallelReplayTest {
 protected:
  StretchesTest() : StretchesTest(std::make_unique<SnapshottedGuest>()) {}
  Result<ReplayTotals> replay(size_t workers) {
    auto totals = ParallelReplayTest::replay(workers, false, true);
    EXPECT_GE(pieces_, kRounds / 2);
    return totals;
  }
  // That of a replay in one go.
  void expect_all(const ReplayTotals& totals) {
    const auto replayer = value_of(replay::Replayer::create(guest_->reader(), std::nullopt));
    replay::Guest guest = value_of(replayer->start());
    const replay::Outcome outcome = value_of(replayer->advance(guest, {}));
    expect_same({replayer->instructions(), replayer->checksums_verified(),
                 replayer->snapshots_verified(), replayer->pages_verified(), 0, outcome.event},
                totals);
  }

 private:
  explicit StretchesTest(std::unique_ptr<SnapshottedGuest> guest)
      : ParallelReplayTest(guest->reader()), guest_(std::move(guest)) {}
  std::unique_ptr<SnapshottedGuest> guest_;
};

TEST_F(StretchesTest, ComeToTheSame) {
  for (const size_t workers : {0, 1, 2, 4}) expect_all(value_of(replay(workers)));
}

TEST_F(StretchesTest, DoWithoutWorkersThatEnd) {
  for (const uint64_t end : {uint64_t{1}, source_.event_count() / 2, source_.event_count() - 1}) {
    end_workers_at(end);
    expect_all(value_of(replay(3)));
  }
}

TEST_F(StretchesTest, AreDoneAgainWhereSomethingIsWanting) {
  const pid_t maker = getpid();
  source_.alter_pages = [=](SnapshotNumber, std::vector<snapshot::PageChange>&) {
    // Makes a worker's next descriptor fail.
    const rlimit none{0, 0};
    if (getpid() != maker) setrlimit(RLIMIT_NOFILE, &none);
  };
  expect_all(value_of(replay(2)));
}

// Whoever comes upon a divergence, it is told as in a replay from the start.
TEST_F(StretchesTest, TellTheFirstDivergence) {
  falsify_from(source_.event_count() / 2);
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
TEST_F(StretchesTest, TellOfASnapshotThatIsNotWhatTheReplayCameTo) {
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

// Of several processes: commands are children of vfork here, subshells of fork.
class FamiliesTest : public ParallelReplayTest {
 protected:
  FamiliesTest()
      : FamiliesTest(std::make_unique<SnapshottedGuest>(std::vector<std::string>{
            "/bin/sh", "-c", "/bin/true; (/bin/true; read x); /bin/ls / >&-; exit 5"})) {}

 private:
  explicit FamiliesTest(std::unique_ptr<SnapshottedGuest> guest)
      : ParallelReplayTest(guest->reader()), guest_(std::move(guest)) {}
  std::unique_ptr<SnapshottedGuest> guest_;
};

TEST_F(FamiliesTest, ComeToTheSame) {
  for (const bool restores : {false, true}) {
    const ReplayTotals alone = value_of(replay(0, restores, false));
    EXPECT_EQ(pieces_, 1u);
    EXPECT_TRUE(alone.exit);
    EXPECT_EQ(restores, alone.snapshots_restored > 0);
    expect_same(alone, value_of(replay(2, restores, false)));
    const size_t families = pieces_;
    EXPECT_GE(families, 3u);
    // Those of one process are cut.
    expect_same(alone, value_of(replay(2, restores, true)));
    EXPECT_GT(pieces_, families);
  }
}

TEST_F(FamiliesTest, DoWithoutWorkersThatEnd) {
  const ReplayTotals alone = value_of(replay(0, false, false));
  for (const uint64_t end : {uint64_t{1}, source_.event_count() / 2, source_.event_count() - 1}) {
    end_workers_at(end);
    for (const bool cuts : {false, true}) expect_same(alone, value_of(replay(3, false, cuts)));
  }
}

// Wherever it is, it is told behind all that comes before it in the log.
TEST_F(FamiliesTest, TellTheFirstDivergence) {
  for (const uint64_t part : {1, 2, 3}) {
    falsify_from(source_.event_count() * part / 4);
    const auto alone = replay(0, false, false);
    const uint64_t told = told_.size();
    ASSERT_FALSE(alone);
    EXPECT_EQ(ErrorKind::kDivergence, alone.error().kind);
    for (const size_t workers : {1, 3}) {
      for (const bool cuts : {false, true}) {
        const auto result = replay(workers, false, cuts);
        ASSERT_FALSE(result);
        EXPECT_EQ(alone.error().context, result.error().context);
        expect_told(told);
      }
    }
  }
}

}  // namespace
}  // namespace rchk::timeline::test
