// build: -O1 -std=c++17
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <future>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

// Exceptions that cross threads, futures, call_once that fails, cancellation by destructors,
// clocks.
static int thrower(int depth) {
  struct Guard {
    std::atomic<int>& count;
    ~Guard() { ++count; }
  };
  static std::atomic<int> unwound{0};
  Guard guard{unwound};
  if (depth == 0) throw std::runtime_error("deep " + std::to_string(unwound.load() >= 0));
  return thrower(depth - 1) + 1;
}

int main() {
  int caught = 0;
  std::vector<std::future<int>> futures;
  for (int i = 0; i < 8; ++i) {
    futures.push_back(std::async(std::launch::async, [i] { return i % 2 ? thrower(i * 10) : i; }));
  }
  int sum = 0;
  for (auto& future : futures) {
    try {
      sum += future.get();
    } catch (const std::runtime_error& error) {
      caught += std::string(error.what()).size();
    }
  }
  std::once_flag once;
  int tries = 0;
  for (int i = 0; i < 3; ++i) {
    try {
      std::call_once(once, [&] {
        if (++tries < 2) throw 5;
      });
    } catch (int value) {
      caught += value;
    }
  }
  std::shared_timed_mutex shared;
  std::mutex mutex;
  std::condition_variable condition;
  std::atomic<bool> go{false};
  int produced = 0, consumed = 0;
  std::thread consumer([&] {
    std::unique_lock lock(mutex);
    while (consumed < 100) {
      condition.wait_for(lock, std::chrono::milliseconds(5), [&] { return produced > consumed; });
      if (produced > consumed) ++consumed;
      condition.notify_all();
    }
  });
  for (int i = 0; i < 100; ++i) {
    std::unique_lock lock(mutex);
    condition.wait(lock, [&] { return produced - consumed < 3; });
    ++produced;
    condition.notify_all();
  }
  consumer.join();
  std::thread reader([&] {
    while (!go) std::this_thread::yield();
    std::shared_lock lock(shared, std::chrono::milliseconds(1));
    sum += lock.owns_lock();
  });
  {
    std::unique_lock lock(shared);
    go = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  reader.join();
  std::printf("%d %d %d %d\n", sum, caught, tries, consumed);
  std::puts("passed");
}
