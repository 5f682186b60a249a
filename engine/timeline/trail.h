#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "engine/timeline/checkpoints.h"
#include "snapshot/dirty_tracker.h"
#include "snapshot/memory_cost.h"

namespace rchk::timeline {

// What another fork of a guest would cost it, told from what the last one did.
class CopyCost {
 public:
  explicit CopyCost(const replay::Guest& guest)
      : pid_(guest.puppet->pid()),
        faults_(snapshot::minor_faults(pid_)),
        pages_(snapshot::private_pages(pid_)) {}
  int64_t so_far_ns() const;

 private:
  // What a guest's first write to a page costs that it shares with a fork.
  static constexpr int64_t kPageCopyNs = 10'000;

  int pid_;
  uint64_t faults_, pages_;
};

// What a guest that runs has done since its last checkpoint: for how long it ran, what copying the
// pages that it shares with the checkpoint has cost, and which pages it changed.
//
// The changed pages are told by the exclusive bit, against the checkpoint as the reference. They
// are not known where the guest began to run elsewhere than at a checkpoint, where somebody else
// forked it meanwhile, where it moved memory (mremap), or where the checkpoint is gone.
class Trail {
 public:
  // `guest` is about to run on; `here` is the checkpoint at its position, or null.
  Trail(const replay::Guest& guest, const Checkpoint* here) : copying_(guest) {
    begin(guest, here);
  }

  bool follows(const replay::Guest& guest) const { return puppet_ == guest.puppet->serial(); }
  void ran(int64_t ns) { since_ns_ += ns; }
  int64_t since_ns() const { return since_ns_; }
  int64_t copying_ns() const { return copying_.so_far_ns(); }

  // The pages that changed since the checkpoint, if they are known. The guest is stopped.
  std::optional<Changes> changes(const replay::Guest& guest, const Checkpoints& checkpoints);
  // `here` was forked from the guest just now.
  void begin(const replay::Guest& guest, const Checkpoint* here);

 private:
  uint64_t puppet_ = 0;
  CopyCost copying_;
  int64_t since_ns_ = 0;
  Position since_;                  // where the checkpoint is
  uint64_t reference_ = 0;          // its puppet
  uint64_t forks_ = 0, moves_ = 0;  // of the puppet, at the checkpoint
  std::unique_ptr<snapshot::DirtyTracker> tracker_;
  int64_t collecting_ns_ = 0;  // what it took last
};

}  // namespace rchk::timeline
