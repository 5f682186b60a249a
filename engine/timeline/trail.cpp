#include "engine/timeline/trail.h"

#include <algorithm>

#include "engine/timeline/clock.h"
#include "snapshot/pagemap.h"

namespace rchk::timeline {

namespace {

// Looking for changed pages may take one part in so many of the time.
constexpr int64_t kCollectingDivisor = 16;

}  // namespace

// A fault that gave it a new page copied none.
int64_t CopyCost::so_far_ns() const {
  const uint64_t faults = snapshot::minor_faults(pid_) - faults_;
  const uint64_t pages = snapshot::private_pages(pid_);
  const uint64_t grown = pages - std::min(pages, pages_);
  return static_cast<int64_t>(faults - std::min(faults, grown)) * kPageCopyNs;
}

void Trail::begin(const replay::Guest& guest, const Checkpoint* here) {
  puppet_ = guest.puppet->serial();
  copying_ = CopyCost(guest);
  since_ns_ = 0;
  tracker_.reset();
  if (here == nullptr) return;
  // Without PAGEMAP_SCAN the tracker would have to be told of all memory that is discarded.
  const auto pagemap = snapshot::Pagemap::open(guest.puppet->pid());
  if (!pagemap || !pagemap->can_scan()) return;
  since_ = here->guest.position;
  reference_ = here->guest.puppet->serial();
  forks_ = guest.puppet->forks();
  moves_ = guest.puppet->moves();
  tracker_ = snapshot::make_tracker(snapshot::TrackerKind::kExclusive, guest.puppet->pid());
  if (!tracker_->begin(here->guest.puppet->pid())) tracker_.reset();
}

std::optional<Changes> Trail::changes(const replay::Guest& guest, const Checkpoints& checkpoints) {
  const replay::Puppet& puppet = *guest.puppet;
  if (!tracker_ || puppet.forks() != forks_ || puppet.moves() != moves_) return std::nullopt;
  const Checkpoint* reference = checkpoints.at(since_);
  if (reference == nullptr || reference->guest.puppet->serial() != reference_) return std::nullopt;
  if (collecting_ns_ * kCollectingDivisor > since_ns_) {
    collecting_ns_ /= 2;  // and try again some time
    return std::nullopt;
  }
  const int64_t before_ns = now_ns();
  auto dirty = tracker_->collect();
  collecting_ns_ = now_ns() - before_ns;
  if (!dirty) return std::nullopt;
  dirty->pages.insert(dirty->pages.end(), dirty->new_mappings.begin(), dirty->new_mappings.end());
  return Changes{since_, snapshot::normalized(std::move(dirty->pages))};
}

}  // namespace rchk::timeline
