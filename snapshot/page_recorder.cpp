#include "snapshot/page_recorder.h"

#include <algorithm>
#include <cstring>

namespace rchk::snapshot {

size_t read_runs(const std::vector<PageRun>& runs, GuestAddress address, std::span<uint8_t> out) {
  const auto next =
      std::upper_bound(runs.begin(), runs.end(), address,
                       [](GuestAddress value, const PageRun& run) { return value < run.address; });
  if (next == runs.begin()) return 0;
  const PageRun& run = *std::prev(next);
  const uint64_t offset = address - run.address;
  if (offset >= run.bytes.size()) return 0;
  const size_t count = std::min<size_t>(out.size(), run.bytes.size() - offset);
  std::memcpy(out.data(), run.bytes.data() + offset, count);
  return count;
}

void PageRecorder::end_line(uint32_t line) {
  store_.end_line(line);
  forget(line, {{{0}, {~uint64_t{0}}}});
}

Result<SnapshotId> PageRecorder::add(uint32_t line, const PageStore::Change& change,
                                     const ReadMemory& now) {
  constexpr uint64_t kPieceBytes = 1 << 20;
  forget(line, change.reset);
  const ReadMemory before = [this, line](GuestAddress address, std::span<uint8_t> out) {
    return read_known(line, address, out);
  };
  RCHK_TRY_ASSIGN(const SnapshotId id, store_.add(line, change, now, before));
  std::vector<uint8_t> piece(kPieceBytes);
  uint64_t room = most_pages_;
  for (const AddressRange& range : change.pages) {
    for (GuestAddress at = range.begin; at < range.end && room > 0;) {
      const uint64_t wanted = std::min({kPieceBytes, range.end - at, room * kPageSize});
      const size_t got = now(at, {piece.data(), wanted}) / kPageSize * kPageSize;
      remember(line, at, {piece.data(), got});
      // What cannot be read is not in the store either, and is not asked for.
      at = at + std::max<uint64_t>(got, kPageSize);
      room -= got / kPageSize;
    }
  }
  return id;
}

size_t PageRecorder::read_known(uint32_t line, GuestAddress address, std::span<uint8_t> out) const {
  size_t done = 0;
  for (; done + kPageSize <= out.size(); done += kPageSize) {
    const auto found = known_.find({line, address + done});
    if (found == known_.end()) break;
    std::memcpy(out.data() + done, found->second.content->data(), kPageSize);
  }
  return done;
}

void PageRecorder::remember(uint32_t line, GuestAddress address, std::span<const uint8_t> bytes) {
  for (size_t offset = 0; offset < bytes.size(); offset += kPageSize) {
    const Key key{line, address + offset};
    auto [entry, fresh] = known_.try_emplace(key);
    if (fresh) {
      uses_.push_front(key);
      entry->second = {std::make_unique<Page>(), uses_.begin()};
    } else {
      uses_.splice(uses_.begin(), uses_, entry->second.use);
    }
    std::memcpy(entry->second.content->data(), bytes.data() + offset, kPageSize);
  }
  while (known_.size() > most_pages_) {
    known_.erase(uses_.back());
    uses_.pop_back();
  }
}

void PageRecorder::forget(uint32_t line, const RangeSet& pages) {
  for (const AddressRange& range : pages) {
    auto entry = known_.lower_bound({line, range.begin});
    while (entry != known_.end() && entry->first.line == line && entry->first.page < range.end) {
      uses_.erase(entry->second.use);
      entry = known_.erase(entry);
    }
  }
}

}  // namespace rchk::snapshot
