#include "engine/record/snapshot_pace.h"

#include <algorithm>

namespace rchk::record {

namespace {

// A program that ends sooner needs none.
constexpr uint64_t kFirstAfterNs = 500'000'000;
constexpr uint64_t kShortestIntervalNs = 250'000'000;
// How long a program that computes may go without a call that one can be taken behind.
constexpr uint64_t kPatienceNs = 1'000'000'000;
// A century.
constexpr double kForeverNs = 3e18;

}  // namespace

bool SnapshotPace::is_due(const SnapshotRate& rate, uint64_t now_ns,
                          const trace::SnapshotWork& work) {
  const std::optional<Times> times = next(rate, now_ns, work);
  return times && now_ns >= times->due_ns;
}

bool SnapshotPace::is_overdue(const SnapshotRate& rate, uint64_t now_ns,
                              const trace::SnapshotWork& work) {
  const std::optional<Times> times = next(rate, now_ns, work);
  if (!times) return false;
  // Also where they are asked for whatever they cost, so that a program that stores faster than
  // they are written gets on.
  const uint64_t patience_ns = std::max(rate.interval_or(kPatienceNs), 4 * cost_with(work));
  const uint64_t latest_ns = std::max(times->due_ns, times->latest_ns);
  return now_ns >= std::min(times->due_ns + patience_ns, latest_ns);
}

std::optional<SnapshotPace::Times> SnapshotPace::next(const SnapshotRate& rate, uint64_t now_ns,
                                                      const trace::SnapshotWork& work) {
  if (rate.overhead_percent == 0) return std::nullopt;
  if (begin_ns_ == 0) begin_ns_ = now_ns;
  if (next_ns_ == 0) next_ns_ = now_ns + rate.interval_or(kFirstAfterNs);
  // What the last one costs is not known yet.
  if (work.waiting != 0 && !rate.interval_ns) return std::nullopt;
  // When what it took is no more than its share of the time since.
  const bool is_first = last_ns_ == 0;
  const uint64_t from_ns = is_first ? begin_ns_ : last_ns_;
  const auto paid_off_ns = [&](uint64_t cost_ns) {
    const double needed_ns = static_cast<double>(cost_ns) * 100 / rate.overhead_percent;
    return from_ns + static_cast<uint64_t>(needed_ns);
  };
  const uint64_t sink_ns = is_first && expected_ ? expected_->ns : cost_with(work);
  const uint64_t latest_ns = std::max(from_ns + rate.longest_ns, paid_off_ns(cost_ns_));
  const uint64_t cheap_ns = std::max(paid_off_ns(sink_ns), room_ns(rate, work));
  return Times{std::max(next_ns_, std::min(cheap_ns, latest_ns)), latest_ns};
}

bool SnapshotPace::wants_guess(const SnapshotRate& rate, uint64_t now_ns) const {
  return rate.overhead_percent != 0 && !rate.interval_ns && !expected_ && last_ns_ == 0 &&
         next_ns_ != 0 && now_ns >= next_ns_;
}

// When there is room for one that is as large as the last one.
uint64_t SnapshotPace::room_ns(const SnapshotRate& rate, const trace::SnapshotWork& work) const {
  if (rate.bytes_per_second == 0) return 0;
  uint64_t next_bytes = work.bytes - work_.bytes;
  if (last_ns_ == 0) next_bytes = expected_ ? expected_->bytes : 0;
  const auto bytes = static_cast<double>(work.bytes + next_bytes);
  const double needed_ns = bytes * 1e9 / static_cast<double>(rate.bytes_per_second);
  return begin_ns_ + static_cast<uint64_t>(std::min(needed_ns, kForeverNs));
}

void SnapshotPace::note(const SnapshotRate& rate, const Taken& taken) {
  last_ns_ = taken.end_ns;
  cost_ns_ = taken.end_ns - taken.begin_ns + taken.tracking_ns;
  work_ = taken.work;
  next_ns_ = taken.end_ns + rate.interval_or(kShortestIntervalNs);
}

}  // namespace rchk::record
