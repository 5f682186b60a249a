#include "engine/record/contention.h"

#include <atomic>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <sched.h>

namespace rchk::record {
namespace {

// Threads that compute on the core of the one that makes them, which stays there.
class Computing {
 public:
  Computing() {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(sched_getcpu()), &one);
    sched_getaffinity(0, sizeof(before_), &before_);
    sched_setaffinity(0, sizeof(one), &one);
    for (int i = 0; i < 2; ++i)
      threads_.emplace_back([this] {
        while (!ended_) continue;
      });
  }
  ~Computing() {
    end();
    sched_setaffinity(0, sizeof(before_), &before_);
  }
  void end() {
    ended_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  cpu_set_t before_{};
  std::atomic<bool> ended_ = false;
  std::vector<std::thread> threads_;
};

TEST(CoreContention, AProgramThatHardlyRunsBesideOthersMakesACrowdedCore) {
  Computing others;
  CoreContention contention([] { return 0; });
  EXPECT_FALSE(contention.crowded());
  while (!contention.crowded()) contention.let_run();
  others.end();
  while (contention.crowded()) contention.let_run();
}

TEST(CoreContention, OneThatRunsDoesNot) {
  Computing others;
  uint64_t run_ns = 0;
  CoreContention contention([&run_ns] { return run_ns += 1'000'000'000; });
  for (int i = 0; i < 200; ++i) contention.let_run();
  EXPECT_FALSE(contention.crowded());
}

}  // namespace
}  // namespace rchk::record
