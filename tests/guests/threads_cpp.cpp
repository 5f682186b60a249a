// build: -O1 -std=c++20 -pthread
// std::thread, futures, exceptions that cross threads, condition variables with stop tokens.
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <future>
#include <latch>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static int fails(int number) {
  if (number % 2 == 1) throw std::runtime_error("odd " + std::to_string(number));
  return number * 10;
}

int main() {
  std::string said;
  for (int i = 0; i < 6; i++) {
    auto future = std::async(std::launch::async, fails, i);
    try {
      said += std::to_string(future.get()) + ",";
    } catch (const std::runtime_error& error) {
      said += std::string(error.what()) + ",";
    }
  }
  std::puts(said.c_str());

  std::latch all(4);
  std::atomic<long> sum = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; i++) {
    threads.emplace_back([&, i] {
      thread_local std::string own = "x";
      own += std::string(100 + i, 'y');
      all.arrive_and_wait();
      sum += static_cast<long>(own.size());
    });
  }
  threads.clear();

  std::mutex mutex;
  std::condition_variable_any changed;
  bool stopped = false;
  {
    std::jthread waiting([&](std::stop_token token) {
      std::unique_lock lock(mutex);
      stopped = !changed.wait(lock, token, [] { return false; });
    });
  }
  std::promise<int> promise;
  std::thread setter([&] { promise.set_value(5); });
  const int five = promise.get_future().get();
  setter.join();
  const bool right = sum == 4 * 101 + 6 && stopped && five == 5;
  std::puts(right ? "passed" : "wrong");
  return right ? 0 : 99;
}
