#pragma once

#include <cstdint>

namespace rchk::record {

// How much of the time of all processes together may go into work of one kind for which they stand
// still, and which can be done without: each process by itself would ask for little, but all of
// them take turns on one core.
class PauseBudget {
 public:
  // `percent` of the time that has passed, and `grace_ns` from the start on.
  PauseBudget(double percent, uint64_t grace_ns) : percent_(percent), grace_ns_(grace_ns) {}

  // Whether work that takes about so long may be done now. Times are since the start.
  bool allows(uint64_t now_ns, uint64_t expected_ns) const {
    const auto share_ns = static_cast<uint64_t>(static_cast<double>(now_ns) * percent_ / 100);
    return spent_ns_ + expected_ns <= grace_ns_ + share_ns;
  }
  // What some took, whether or not it was allowed.
  void note(uint64_t took_ns) { spent_ns_ += took_ns; }

 private:
  double percent_;
  uint64_t grace_ns_;
  uint64_t spent_ns_ = 0;
};

}  // namespace rchk::record
