#include "engine/replay/replay_totals.h"

#include "engine/replay/replayer.h"

namespace rchk::replay {

ReplayTotals ReplayTotals::of(const Replayer& replayer) {
  return {replayer.instructions(),   replayer.checksums_verified(), replayer.snapshots_verified(),
          replayer.pages_verified(), replayer.snapshots_restored(), std::nullopt};
}

ReplayTotals& ReplayTotals::operator+=(const ReplayTotals& other) {
  instructions += other.instructions;
  checksums += other.checksums;
  snapshots += other.snapshots;
  snapshot_pages += other.snapshot_pages;
  snapshots_restored += other.snapshots_restored;
  if (other.exit) exit = other.exit;
  return *this;
}

ReplayTotals ReplayTotals::operator-(const ReplayTotals& before) const {
  return {instructions - before.instructions,
          checksums - before.checksums,
          snapshots - before.snapshots,
          snapshot_pages - before.snapshot_pages,
          snapshots_restored - before.snapshots_restored,
          exit};
}

}  // namespace rchk::replay
