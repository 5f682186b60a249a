#include "engine/record/snapshot_pace.h"

#include <algorithm>

namespace rchk::record {

namespace {

// A program that ends sooner needs none.
constexpr uint64_t kFirstAfterNs = 500'000'000;
constexpr uint64_t kShortestIntervalNs = 250'000'000;
// How long a program that computes may go without a call that one can be taken behind.
constexpr uint64_t kPatienceNs = 1'000'000'000;
// How far apart they may be for want of room in the recording.
constexpr uint64_t kLongestForRoomNs = 10'000'000'000;

}  // namespace

bool SnapshotPace::is_due(const SnapshotRate& rate, uint64_t now_ns,
                          const trace::SnapshotWork& work) {
  return is_due_for(0, rate, now_ns, work);
}

bool SnapshotPace::is_overdue(const SnapshotRate& rate, uint64_t now_ns,
                              const trace::SnapshotWork& work) {
  // Also where they are asked for whatever they cost, so that a program that stores faster than
  // they are written gets on.
  const uint64_t patience_ns = std::max(rate.interval_or(kPatienceNs), 4 * cost_with(work));
  return is_due_for(patience_ns, rate, now_ns, work);
}

bool SnapshotPace::is_due_for(uint64_t patience_ns, const SnapshotRate& rate, uint64_t now_ns,
                              const trace::SnapshotWork& work) {
  if (rate.overhead_percent == 0) return false;
  if (begin_ns_ == 0) begin_ns_ = now_ns;
  if (next_ns_ == 0) next_ns_ = now_ns + rate.interval_or(kFirstAfterNs);
  // When the last one has taken no more than its share of the time since.
  const auto cost_ns = static_cast<double>(cost_with(work));
  const uint64_t paid_off_ns =
      last_ns_ + static_cast<uint64_t>(cost_ns * 100 / rate.overhead_percent);
  return now_ns >= std::max({next_ns_, paid_off_ns, room_ns(rate, work)}) + patience_ns;
}

// When there is room for one that is as large as the last one.
uint64_t SnapshotPace::room_ns(const SnapshotRate& rate, const trace::SnapshotWork& work) const {
  if (rate.bytes_per_second == 0 || last_ns_ == 0) return 0;
  const double bytes = static_cast<double>(work.bytes + (work.bytes - work_.bytes));
  const double needed_ns = bytes * 1e9 / static_cast<double>(rate.bytes_per_second);
  const uint64_t longest_ns = last_ns_ + kLongestForRoomNs;
  if (needed_ns >= static_cast<double>(longest_ns - begin_ns_)) return longest_ns;
  return begin_ns_ + static_cast<uint64_t>(needed_ns);
}

void SnapshotPace::note(const SnapshotRate& rate, const Taken& taken) {
  last_ns_ = taken.end_ns;
  cost_ns_ = taken.end_ns - taken.begin_ns + taken.tracking_ns;
  work_ = taken.work;
  next_ns_ = taken.end_ns + rate.interval_or(kShortestIntervalNs);
}

}  // namespace rchk::record
