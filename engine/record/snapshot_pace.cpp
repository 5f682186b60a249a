#include "engine/record/snapshot_pace.h"

#include <algorithm>

namespace rchk::record {

namespace {

// A program that ends sooner needs none.
constexpr uint64_t kFirstAfterNs = 500'000'000;
constexpr uint64_t kShortestIntervalNs = 250'000'000;
// How long a program that computes may go without a call that one can be taken behind.
constexpr uint64_t kPatienceNs = 1'000'000'000;

}  // namespace

bool SnapshotPace::is_due(const SnapshotRate& rate, uint64_t now_ns, uint64_t work_ns) {
  return is_due_for(0, rate, now_ns, work_ns);
}

bool SnapshotPace::is_overdue(const SnapshotRate& rate, uint64_t now_ns, uint64_t work_ns) {
  // Also where they are asked for whatever they cost, so that a program that stores faster than
  // they are written gets on.
  const uint64_t patience_ns = std::max(rate.interval_or(kPatienceNs), 4 * cost_with(work_ns));
  return is_due_for(patience_ns, rate, now_ns, work_ns);
}

bool SnapshotPace::is_due_for(uint64_t patience_ns, const SnapshotRate& rate, uint64_t now_ns,
                              uint64_t work_ns) {
  if (rate.overhead_percent == 0) return false;
  if (next_ns_ == 0) next_ns_ = now_ns + rate.interval_or(kFirstAfterNs);
  // When the last one has taken no more than its share of the time since.
  const auto cost_ns = static_cast<double>(cost_with(work_ns));
  const uint64_t paid_off_ns =
      last_ns_ + static_cast<uint64_t>(cost_ns * 100 / rate.overhead_percent);
  return now_ns >= std::max(next_ns_, paid_off_ns) + patience_ns;
}

void SnapshotPace::note(const SnapshotRate& rate, const Taken& taken) {
  last_ns_ = taken.end_ns;
  cost_ns_ = taken.end_ns - taken.begin_ns + taken.tracking_ns;
  work_ns_ = taken.work_ns;
  next_ns_ = taken.end_ns + rate.interval_or(kShortestIntervalNs);
}

}  // namespace rchk::record
