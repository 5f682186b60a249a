#include "engine/timeline/stations.h"

#include <algorithm>

namespace rchk::timeline {

Stations::Stations(trace::EventSource& source) : source_(source.snapshots()) {
  if (source_ == nullptr) return;
  trace::SnapshotNumber number;
  for (const trace::SnapshotMark& mark : source_->marks()) {
    if (const auto event = source.local_number(mark.event)) all_.push_back({*event, number});
    ++number.value;
  }
}

const Station* Stations::at_or_before(const Position& position) const {
  const auto next = std::upper_bound(
      all_.begin(), all_.end(), position,
      [](const Position& value, const Station& station) { return value < station.position(); });
  return next == all_.begin() ? nullptr : &*std::prev(next);
}

const Station* Stations::before(const Position& position) const {
  const Station* const found = at_or_before(position);
  if (found == nullptr || found->position() < position) return found;
  return found == all_.data() ? nullptr : found - 1;
}

const Station* Stations::at_or_after(const Position& position) const {
  const auto found = std::lower_bound(
      all_.begin(), all_.end(), position,
      [](const Station& station, const Position& value) { return station.position() < value; });
  return found == all_.end() ? nullptr : &*found;
}

const Station* Stations::at(const Position& position) const {
  const Station* const found = at_or_before(position);
  return found != nullptr && found->position() == position ? found : nullptr;
}

Result<std::shared_ptr<const trace::Snapshot>> Stations::snapshot(const Station& station) const {
  return source_->snapshot(station.number);
}

Result<bool> Stations::touched(const Station& station, AddressRange range) const {
  if (&station == all_.data()) return true;  // nobody knows
  RCHK_TRY_ASSIGN(const bool follows, same_program_as_before(station));
  if (!follows) return true;
  RCHK_TRY_ASSIGN(const auto here, snapshot(station));
  const auto first = std::upper_bound(
      here->touched.begin(), here->touched.end(), range.begin,
      [](GuestAddress value, const AddressRange& touched) { return value < touched.end; });
  return first != here->touched.end() && first->begin < range.end;
}

Result<int64_t> Stations::restore_ns(const Station& station) const {
  RCHK_TRY_ASSIGN(const auto pages, source_->pages(station.number));
  return cost_.process_ns + static_cast<int64_t>(pages.size()) * cost_.page_ns;
}

Result<uint64_t> Stations::memory_bytes(const Station& station) const {
  RCHK_TRY_ASSIGN(const auto pages, source_->pages(station.number));
  return pages.size() * kPageSize;
}

Result<bool> Stations::same_program_as_before(const Station& station) const {
  if (&station == all_.data()) return false;
  RCHK_TRY_ASSIGN(const auto here, snapshot(station));
  RCHK_TRY_ASSIGN(const auto before, snapshot(*(&station - 1)));
  return here->program == before->program && here->image.space == before->image.space;
}

}  // namespace rchk::timeline
