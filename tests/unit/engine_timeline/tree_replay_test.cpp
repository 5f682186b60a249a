// A replay of several processes, by several processes.

#include "engine/replay/tree_replay.h"

#include <csignal>

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/engine_timeline/tiny_guest.h"

namespace rchk::timeline::test {
namespace {

using replay::ReplayTotals;
using replay::TreeReplay;
using trace::Event;

class TreeReplayTest : public testing::Test {
 protected:
  void TearDown() override {
    EXPECT_EQ(-1, waitpid(-1, nullptr, WNOHANG | __WALL));  // nobody is left, not even dead
  }
  Result<ReplayTotals> replay(size_t workers) {
    const int cpu = sched_getcpu();
    RCHK_TRY_ASSIGN(
        const auto tree,
        TreeReplay::create(source_, {cpu, std::vector<int>(workers, cpu), true, false, {}}));
    families_ = tree->families();
    told_.clear();
    return tree->run(
        [this](EventNumber number, const Event&) {
          told_.push_back(number);
          return Result<void>();
        },
        [this](uint64_t events) { progress_ = events; });
  }
  void expect_as_alone(const ReplayTotals& totals) {
    EXPECT_EQ(alone_.instructions, totals.instructions);
    EXPECT_EQ(alone_.checksums, totals.checksums);
    EXPECT_EQ(alone_.snapshots, totals.snapshots);
    EXPECT_EQ(alone_.snapshot_pages, totals.snapshot_pages);
    EXPECT_EQ(alone_.snapshots_restored, totals.snapshots_restored);
    EXPECT_EQ(alone_.exit, totals.exit);
    expect_told(source_.event_count());
  }
  void expect_told(uint64_t count) {
    ASSERT_EQ(count, told_.size());
    for (uint64_t i = 0; i < count; ++i) EXPECT_EQ(EventNumber{i}, told_[i]);
  }

  // Commands are children of vfork here, subshells of fork.
  SnapshottedGuest guest_{
      {"/bin/sh", "-c", "/bin/true; (/bin/true; read x); /bin/ls / >&-; exit 5"}};
  AlteredRecording source_{guest_.reader()};
  std::vector<EventNumber> told_;
  size_t families_ = 0;
  uint64_t progress_ = 0;
  ReplayTotals alone_ = value_of(replay(0));
};

TEST_F(TreeReplayTest, ComesToTheSame) {
  EXPECT_EQ(families_, 1u);
  expect_as_alone(alone_);
  EXPECT_TRUE(alone_.exit);
  EXPECT_GE(progress_, source_.event_count());
  for (const size_t workers : {1, 2, 5}) {
    expect_as_alone(value_of(replay(workers)));
    EXPECT_GE(families_, 3u);
    EXPECT_GE(progress_, source_.event_count());
  }
}

TEST_F(TreeReplayTest, DoesWithoutWorkersThatEnd) {
  const pid_t maker = getpid();
  for (const uint64_t end : {uint64_t{1}, source_.event_count() / 2, source_.event_count() - 1}) {
    source_.alter_event = [=](EventNumber number, Event&) {
      if (getpid() != maker && number.value >= end) kill(getpid(), SIGKILL);
    };
    expect_as_alone(value_of(replay(3)));
  }
}

// Wherever it is, it is told behind all that comes before it in the log.
TEST_F(TreeReplayTest, TellsTheFirstDivergence) {
  for (const uint64_t part : {1, 2, 3}) {
    source_.alter_event = [&](EventNumber number, Event& event) {
      if (number.value < source_.event_count() * part / 4) return;
      if (auto* call = std::get_if<trace::SyscallEvent>(&event.body)) call->before.rbx ^= 1;
    };
    std::string error;
    uint64_t told = 0;
    for (const size_t workers : {0, 1, 3}) {
      const auto result = replay(workers);
      ASSERT_FALSE(result);
      EXPECT_EQ(ErrorKind::kDivergence, result.error().kind);
      if (workers == 0) {
        error = result.error().context;
        told = told_.size();
      }
      EXPECT_EQ(error, result.error().context);
      expect_told(told);
    }
  }
}

}  // namespace
}  // namespace rchk::timeline::test
