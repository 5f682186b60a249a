#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "base/result.h"
#include "engine/replay/worker_processes.h"

namespace rchk::replay {

// An Error as plain bytes, to be passed between processes.
struct PlainError {
  ErrorKind kind = ErrorKind::kSystem;
  int errno_value = 0;
  std::array<char, 8192> context{};

  void put(const Error& error) {
    kind = error.kind;
    errno_value = error.errno_value;
    const size_t size = std::min(error.context.size(), context.size() - 1);
    std::copy_n(error.context.begin(), size, context.begin());
    context[size] = 0;
  }
  Error get() const { return {kind, errno_value, context.data()}; }
};

// Jobs that a process and its workers share out among themselves, and what came of each: `Found`,
// which is plain bytes, or an error. In memory that all of them have.
template <typename Found>
class JobBoard {
  static_assert(std::atomic<uint32_t>::is_always_lock_free);
  static_assert(std::atomic<uint64_t>::is_always_lock_free);
  static_assert(std::is_trivially_copyable_v<Found>);

 public:
  // Who has taken a job: the process that made the board, or a worker by its number.
  static constexpr uint32_t kMaker = 1 << 30;
  enum class State : uint8_t { kOpen, kTaken, kDone, kFailed };

  static Result<JobBoard> create(size_t jobs) {
    auto memory = SharedMemory::create(sizeof(Common) + jobs * sizeof(Job));
    if (!memory) return fail_errno("memory to share with other processes");
    return JobBoard(std::move(*memory), jobs);
  }

  size_t count() const { return count_; }
  // Of all of them together, in whatever is counted.
  std::atomic<uint64_t>& work_done() { return common().work_done; }
  // Of one, likewise. Begins anew where its worker ends.
  std::atomic<uint64_t>& progress(size_t number) { return job(number).progress; }

  // The earliest job that nobody has taken.
  std::optional<size_t> take_next(uint32_t owner) {
    for (size_t i = 0; i < count_; ++i) {
      uint32_t open = kOpen;
      if (job(i).state.compare_exchange_strong(open, kTaken + owner)) return i;
    }
    return std::nullopt;
  }
  // REQUIRES: the caller has taken it.
  void put(size_t number, const Found& found, const Result<void>& success) {
    Job& target = job(number);
    target.found = found;
    if (success) {
      target.state.store(kDone, std::memory_order_release);
      return;
    }
    target.error.put(success.error());
    target.state.store(kFailed, std::memory_order_release);
  }
  // Others may do what an ended worker had taken.
  void reopen_taken_by(uint32_t worker) {
    for (size_t i = 0; i < count_; ++i) {
      uint32_t taken = kTaken + worker;
      job(i).state.compare_exchange_strong(taken, kOpen);
    }
  }
  State state(size_t number) const {
    switch (job(number).state.load(std::memory_order_acquire)) {
      case kOpen:
        return State::kOpen;
      case kDone:
        return State::kDone;
      case kFailed:
        return State::kFailed;
      default:
        return State::kTaken;
    }
  }
  // REQUIRES: it is done, or has failed.
  const Found& found(size_t number) const { return job(number).found; }
  // REQUIRES: it has failed.
  Error error(size_t number) const { return job(number).error.get(); }

 private:
  // From kTaken on: by whom, kTaken + owner.
  static constexpr uint32_t kOpen = 0, kDone = 1, kFailed = 2, kTaken = 3;
  struct Common {
    std::atomic<uint64_t> work_done{0};
  };
  // What was found, or the error, is written before the state.
  struct Job {
    std::atomic<uint32_t> state{kOpen};
    std::atomic<uint64_t> progress{0};
    Found found{};
    PlainError error;
  };
  static_assert(alignof(Job) <= alignof(Common) && sizeof(Common) % alignof(Job) == 0);

  JobBoard(SharedMemory memory, size_t count) : memory_(std::move(memory)), count_(count) {
    new (memory_.data()) Common();
    for (size_t i = 0; i < count; ++i)
      new (memory_.data() + sizeof(Common) + i * sizeof(Job)) Job();
  }
  Common& common() const { return *std::launder(reinterpret_cast<Common*>(memory_.data())); }
  Job& job(size_t number) const {
    RCHK_CHECK(number < count_, "job {} of {}", number, count_);
    return *std::launder(reinterpret_cast<Job*>(memory_.data() + sizeof(Common)) + number);
  }

  SharedMemory memory_;
  size_t count_ = 0;
};

}  // namespace rchk::replay
