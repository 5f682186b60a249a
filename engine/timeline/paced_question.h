#pragma once

#include <chrono>
#include <functional>

namespace rchk::timeline {

// Asks whether the debugger wants to stop, at most once a millisecond: hits that a condition
// refuses come faster than that.
class PacedQuestion {
 public:
  explicit PacedQuestion(const std::function<bool()>& question) : question_(question) {}

  bool now() {
    using Clock = std::chrono::steady_clock;
    if (!question_ || Clock::now() < next_) return false;
    next_ = Clock::now() + std::chrono::milliseconds(1);
    return question_();
  }

 private:
  const std::function<bool()>& question_;
  std::chrono::steady_clock::time_point next_;
};

}  // namespace rchk::timeline
