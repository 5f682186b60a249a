#include "engine/record/contention.h"

#include <algorithm>
#include <ctime>

#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/record/tsc_mirror.h"

namespace rchk::record {

namespace {

constexpr uint64_t kLongYieldNs = 300'000;  // somebody else had a slice
constexpr uint64_t kPeriodNs = 50'000'000, kCrowdedPeriodNs = 500'000'000;
constexpr uint64_t kGapEveryNs = 5'000'000;
constexpr int kStopsWithoutGap = 64;
constexpr int kFreeYields = 16;  // short ones, in a row: the core is its own again
constexpr uint64_t kShortestSleepNs = 1'000, kLongestSleepNs = 320'000, kSoonNs = 20'000;

// Of a period: so much in long yields, and so little for the program, make a core a crowded one.
constexpr bool is_much_lost(uint64_t lost_ns, uint64_t period_ns) {
  return lost_ns > period_ns / 3;
}
constexpr bool is_little(uint64_t run_ns, uint64_t period_ns) { return run_ns < period_ns / 10; }
// With so much it does not need what a crowded one takes.
constexpr bool is_enough(uint64_t run_ns, uint64_t period_ns) { return run_ns > period_ns / 4; }

}  // namespace

void ask_for_slices(pid_t tid, uint64_t slice_ns) {
  SchedulingAttributes attributes;
  if (syscall(SYS_sched_getattr, tid, &attributes, sizeof(attributes), 0) != 0) return;
  if (attributes.policy != SCHED_OTHER && attributes.policy != SCHED_BATCH) return;
  attributes.runtime_ns = slice_ns;
  syscall(SYS_sched_setattr, tid, &attributes, 0);
}

void give_real_time(pid_t tid, SchedulingAttributes believed) {
  syscall(SYS_sched_setattr, tid, &believed, 0);
}

void CoreContention::let_run() {
  const uint64_t begin_ns = monotonic_ns();
  const uint64_t period_ns = begin_ns - period_began_ns_;
  if (crowded_ && period_ns < kCrowdedPeriodNs) return sleep_a_moment(begin_ns);
  sched_yield();
  const uint64_t end_ns = monotonic_ns(), took_ns = end_ns - begin_ns;
  const bool is_long = took_ns >= kLongYieldNs;
  if (is_long) lost_ns_ += took_ns;
  free_yields_ = is_long ? 0 : free_yields_ + 1;
  const bool is_free = free_yields_ >= kFreeYields;
  if (crowded_ ? is_long || is_free : period_ns >= kPeriodNs) decide(end_ns);
}

void CoreContention::leave_a_gap() {
  if (++stops_ < kStopsWithoutGap) return;  // where stops are rare, others get their turn anyway
  stops_ = 0;
  if (monotonic_ns() < next_gap_ns_) return;
  const timespec moment{0, 1};  // 50 us more, the timer's slack
  nanosleep(&moment, nullptr);
  next_gap_ns_ = monotonic_ns() + kGapEveryNs;
}

// One that the kernel is busy with for longer is looked at less often.
void CoreContention::sleep_a_moment(uint64_t now_ns) {
  const bool again = now_ns - slept_until_ns_ < kSoonNs;
  sleep_ns_ = again ? std::min(2 * sleep_ns_, kLongestSleepNs) : kShortestSleepNs;
  const timespec moment{0, static_cast<long>(sleep_ns_)};
  nanosleep(&moment, nullptr);
  slept_until_ns_ = monotonic_ns();
}

// At the end of a period.
void CoreContention::decide(uint64_t now_ns) {
  const uint64_t period_ns = now_ns - period_began_ns_, program_ns = program_ns_();
  // Processes that have ended take their time along.
  const bool known = period_began_ns_ != 0 && program_ns >= program_then_ns_;
  const uint64_t run_ns = program_ns - program_then_ns_;
  if (crowded_) {
    if (free_yields_ >= kFreeYields || !known || is_enough(run_ns, period_ns)) leave();
  } else if (known && is_much_lost(lost_ns_, period_ns) && is_little(run_ns, period_ns)) {
    enter();
  }
  period_began_ns_ = now_ns;
  program_then_ns_ = program_ns;
  lost_ns_ = 0;
  free_yields_ = 0;
}

void CoreContention::enter() {
  crowded_ = true;
  prctl(PR_SET_TIMERSLACK, 1);
  ask_for_slices(0, kCrowdedSliceNs);
}

void CoreContention::leave() {
  if (!crowded_) return;
  crowded_ = false;
  prctl(PR_SET_TIMERSLACK, 0);  // the usual
  ask_for_slices(0, 0);
}

}  // namespace rchk::record
