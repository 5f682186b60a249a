// Workers without a replay: who does which job, and that none is left behind.

#include "engine/timeline/search_crew.h"

#include <csignal>
#include <ctime>

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/timeline/clock.h"

namespace rchk::timeline {
namespace {

constexpr int64_t kMillisecond = 1'000'000;

Position at(uint64_t event) { return {{event}, 0, 0, 0}; }

// Job i is [100 - i, 101 - i).
std::vector<SearchJob> some_jobs(size_t count) {
  std::vector<SearchJob> jobs;
  for (size_t i = 0; i < count; ++i) jobs.push_back({at(100 - i), at(101 - i), {}});
  return jobs;
}

void pause_for(int64_t ns) {
  const timespec moment{ns / 1'000'000'000, ns % 1'000'000'000};
  nanosleep(&moment, nullptr);
}

// In jobs that begin at one of `hits`, at their begin.
SearchCrew::Search searcher(std::vector<uint64_t> hits) {
  return [hits](const SearchJob& job, const SearchCrew::GiveUp&) -> Result<SearchResult> {
    SearchResult result;
    for (const uint64_t hit : hits) {
      if (hit == job.begin.event.value) result.hit = replay::FoundHit{job.begin, true, 7};
    }
    return result;
  };
}

SearchCrew::MakeSearch maker_of(SearchCrew::Search search) {
  return [search](int) -> Result<SearchCrew::Search> { return search; };
}

class SearchCrewTest : public testing::Test {
 protected:
  void TearDown() override {
    // Nobody is left, not even dead.
    EXPECT_EQ(-1, waitpid(-1, nullptr, WNOHANG | __WALL));
    EXPECT_EQ(ECHILD, errno);
  }
  std::unique_ptr<SearchCrew> start(size_t jobs, size_t workers, const SearchCrew::Search& search) {
    const std::vector<int> cpus(workers, sched_getcpu());
    return SearchCrew::start(some_jobs(jobs), cpus, maker_of(search));
  }
  static bool becomes(SearchCrew& crew, size_t job, SearchCrew::State state) {
    const int64_t until_ns = now_ns() + 20'000 * kMillisecond;
    while (crew.state(job) != state) {
      if (now_ns() > until_ns) return false;
      pause_for(kMillisecond);
    }
    return true;
  }
};

TEST_F(SearchCrewTest, DoesAllJobs) {
  const auto crew = start(20, 3, searcher({}));
  ASSERT_NE(nullptr, crew);
  for (size_t i = 0; i < 20; ++i) {
    ASSERT_TRUE(becomes(*crew, i, SearchCrew::State::kDone)) << i;
    EXPECT_FALSE(crew->result(i).hit);
  }
  EXPECT_TRUE(crew->answered(0));
}

TEST_F(SearchCrewTest, TellsTheLatestHit) {
  const auto crew = start(20, 2, searcher({85, 90, 95}));
  ASSERT_NE(nullptr, crew);
  ASSERT_TRUE(becomes(*crew, 5, SearchCrew::State::kDone));
  ASSERT_TRUE(crew->result(5).hit);
  EXPECT_EQ(at(95), crew->result(5).hit->position);
  EXPECT_EQ(7u, crew->result(5).hit->probe);
  for (size_t i = 0; i < 5; ++i) ASSERT_TRUE(becomes(*crew, i, SearchCrew::State::kDone)) << i;
  EXPECT_TRUE(crew->answered(0));
}

TEST_F(SearchCrewTest, BeginsNothingBehindAHit) {
  const auto crew = start(20, 1, searcher({98}));
  ASSERT_NE(nullptr, crew);
  ASSERT_TRUE(becomes(*crew, 2, SearchCrew::State::kDone));
  pause_for(50 * kMillisecond);
  for (size_t i = 3; i < 20; ++i) EXPECT_EQ(SearchCrew::State::kOpen, crew->state(i)) << i;
  EXPECT_FALSE(crew->take_near(2));
}

TEST_F(SearchCrewTest, GivesUpWhatIsBehindAHit) {
  const auto crew = start(3, 2, [](const SearchJob& job, const SearchCrew::GiveUp& give_up) {
    SearchResult result;
    if (job.begin == at(100)) {
      pause_for(30 * kMillisecond);
      result.hit = replay::FoundHit{job.begin, false, 0};
      return Result<SearchResult>(result);
    }
    while (!give_up()) pause_for(kMillisecond);
    result.interrupted = true;
    return Result<SearchResult>(result);
  });
  ASSERT_NE(nullptr, crew);
  ASSERT_TRUE(becomes(*crew, 0, SearchCrew::State::kDone));
  EXPECT_TRUE(becomes(*crew, 1, SearchCrew::State::kOpen));
  EXPECT_NE(SearchCrew::State::kDone, crew->state(2));
}

TEST_F(SearchCrewTest, FindsJobsByWhatLiesBeforeAPosition) {
  const auto crew = start(3, 1, searcher({}));
  ASSERT_NE(nullptr, crew);
  EXPECT_EQ(std::optional<size_t>(), crew->job_before(at(102)));
  EXPECT_EQ(std::optional<size_t>(0), crew->job_before(at(101)));
  EXPECT_EQ(std::optional<size_t>(0), crew->job_before({{100}, 0, 5, 0}));
  EXPECT_EQ(std::optional<size_t>(1), crew->job_before(at(100)));
  EXPECT_EQ(std::optional<size_t>(), crew->job_before(at(98)));
}

TEST_F(SearchCrewTest, SharesJobsWithItsMaker) {
  // A worker that never gets anywhere.
  const auto crew = start(3, 1, [](const SearchJob&, const SearchCrew::GiveUp& give_up) {
    while (!give_up()) pause_for(kMillisecond);
    return Result<SearchResult>(SearchResult{{}, true, false});
  });
  ASSERT_NE(nullptr, crew);
  ASSERT_TRUE(becomes(*crew, 0, SearchCrew::State::kTaken));
  EXPECT_FALSE(crew->take(0));
  EXPECT_EQ(std::optional<size_t>(1), crew->take_near(0));
  EXPECT_EQ(std::optional<size_t>(2), crew->take_near(0));
  EXPECT_EQ(std::optional<size_t>(), crew->take_near(0));
  crew->give_back(2);
  EXPECT_EQ(SearchCrew::State::kOpen, crew->state(2));
  SearchResult result;
  result.hit = replay::FoundHit{at(99), false, 1};
  crew->finish(1, result);
  EXPECT_EQ(SearchCrew::State::kDone, crew->state(1));
  EXPECT_FALSE(crew->answered(0));
  EXPECT_TRUE(crew->answered(1));
}

TEST_F(SearchCrewTest, AFailureIsItsMakersToFind) {
  const auto crew = start(3, 1, [](const SearchJob&, const SearchCrew::GiveUp&) {
    return Result<SearchResult>(fail(ErrorKind::kDivergence, "no"));
  });
  ASSERT_NE(nullptr, crew);
  EXPECT_TRUE(becomes(*crew, 0, SearchCrew::State::kFailed));
  EXPECT_EQ(SearchCrew::State::kOpen, crew->state(1));
  EXPECT_TRUE(crew->take(1));
}

TEST_F(SearchCrewTest, AWorkerThatDiesHasFailed) {
  const auto crew = start(3, 1, [](const SearchJob&, const SearchCrew::GiveUp&) {
    raise(SIGKILL);
    return Result<SearchResult>(SearchResult{});
  });
  ASSERT_NE(nullptr, crew);
  EXPECT_TRUE(becomes(*crew, 0, SearchCrew::State::kFailed));
  EXPECT_FALSE(crew->answered(0));
}

TEST_F(SearchCrewTest, WorkersThatCannotBeginLeaveAllJobsOpen) {
  const int cpu[] = {sched_getcpu()};
  const auto crew = SearchCrew::start(some_jobs(3), cpu, [](int) -> Result<SearchCrew::Search> {
    return fail(ErrorKind::kMachine, "no");
  });
  ASSERT_NE(nullptr, crew);
  pause_for(50 * kMillisecond);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(SearchCrew::State::kOpen, crew->state(i)) << i;
}

TEST_F(SearchCrewTest, EndsWorkersThatDoNotListen) {
  auto crew = start(3, 2, [](const SearchJob&, const SearchCrew::GiveUp&) {
    for (;;) pause_for(kMillisecond);
    return Result<SearchResult>(SearchResult{});
  });
  ASSERT_NE(nullptr, crew);
  ASSERT_TRUE(becomes(*crew, 1, SearchCrew::State::kTaken));
  crew.reset();
}

TEST_F(SearchCrewTest, NeedsJobsAndCores) {
  EXPECT_EQ(nullptr, start(0, 1, searcher({})));
  EXPECT_EQ(nullptr, start(1, 0, searcher({})));
}

// A maker that is killed: its workers end as well.
TEST_F(SearchCrewTest, EndsWithItsMaker) {
  int pipe_fds[2];
  ASSERT_EQ(0, pipe(pipe_fds));
  const pid_t maker = fork();
  if (maker == 0) {
    close(pipe_fds[0]);
    const auto crew = start(3, 2, [](const SearchJob&, const SearchCrew::GiveUp&) {
      for (;;) pause_for(kMillisecond);
      return Result<SearchResult>(SearchResult{});
    });
    while (crew->state(1) != SearchCrew::State::kTaken) pause_for(kMillisecond);
    raise(SIGKILL);
  }
  close(pipe_fds[1]);
  ASSERT_EQ(maker, waitpid(maker, nullptr, 0));
  char byte;
  EXPECT_EQ(0, read(pipe_fds[0], &byte, 1));  // nobody has the other end any more
  close(pipe_fds[0]);
}

}  // namespace
}  // namespace rchk::timeline
