#include "snapshot/page_store.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace rchk::snapshot {

namespace {

// Pages are read this many at a time where they are neighbours.
constexpr uint64_t kPagesAtOnce = 64;

void apply_difference(std::span<uint8_t, kPageSize> page, const uint8_t* difference) {
  for (size_t i = 0; i < kPageSize; i += sizeof(uint64_t)) {
    uint64_t a, b;
    std::memcpy(&a, page.data() + i, sizeof(a));
    std::memcpy(&b, difference + i, sizeof(b));
    a ^= b;
    std::memcpy(page.data() + i, &a, sizeof(a));
  }
}

}  // namespace

uint32_t PageStore::add_line(std::optional<SnapshotId> parent) {
  lines_.push_back({parent, {}, false});
  return static_cast<uint32_t>(lines_.size() - 1);
}

void PageStore::end_line(uint32_t line) { lines_[line].ended = true; }

Result<SnapshotId> PageStore::add(uint32_t line, const Change& change, const ReadMemory& now,
                                  const ReadMemory& before) {
  if (line >= lines_.size() || lines_[line].ended) {
    return fail(ErrorKind::kMisuse, fmt::format("line {} of snapshots does not exist", line));
  }
  const SnapshotId id{snapshot_count()};
  snapshots_.push_back({line, {}});
  reset_pages(line, id, change.reset);
  std::vector<uint8_t> have(kPagesAtOnce * kPageSize), had(have.size());
  for (const AddressRange& range : change.pages) {
    for (GuestAddress at = range.begin; at < range.end; at = at + have.size()) {
      const uint64_t bytes = std::min<uint64_t>(have.size(), range.end - at);
      const size_t readable = now(at, {have.data(), bytes}) / kPageSize * kPageSize;
      const size_t known = before ? before(at, {had.data(), bytes}) / kPageSize * kPageSize : 0;
      for (size_t offset = 0; offset < bytes; offset += kPageSize) {
        Page content, earlier;
        // What one read did not get past may be readable behind it.
        if (!page_from(at + offset, have, offset, readable, now, content)) continue;
        const bool has_earlier =
            before && page_from(at + offset, had, offset, known, before, earlier);
        add_page(line, id, at + offset, content, has_earlier ? &earlier : nullptr);
      }
    }
  }
  return id;
}

bool PageStore::page_from(GuestAddress page, const std::vector<uint8_t>& run, size_t offset,
                          size_t readable, const ReadMemory& read, Page& out) {
  if (offset < readable) {
    std::memcpy(out.data(), run.data() + offset, kPageSize);
    return true;
  }
  return read(page, out) == kPageSize;
}

void PageStore::reset_pages(uint32_t line, SnapshotId id, const RangeSet& reset) {
  if (reset.empty()) return;
  std::vector<GuestAddress> pages;
  if (total_pages(reset) < kPagesAtOnce) {
    for (const AddressRange& range : reset) {
      for (GuestAddress page = range.begin; page < range.end; page = page + kPageSize) {
        pages.push_back(page);
      }
    }
  } else {
    for (const GuestAddress page : pages_of(id)) {
      if (contains(reset, page)) pages.push_back(page);
    }
  }
  for (const GuestAddress page : pages) {
    const auto last = find(id, page);
    if (!last || last->version().page.kind == Kind::kReset) continue;
    lines_[line].pages[page.value].push_back({.snapshot = id});
    snapshots_[id.value].changed.push_back(page);
    ++versions_;
  }
}

void PageStore::add_page(uint32_t line, SnapshotId id, GuestAddress page, const Page& content,
                         const Page* before) {
  const auto last = find(id, page);
  const bool kept = last && last->version().page.kind != Kind::kReset;
  const bool same_as_before = before != nullptr && *before == content;
  Version version{.snapshot = id};
  version.page.xxh3 = checksum_of_page(content);
  // Without a version it is what its mapping began with, before and now.
  const bool unchanged =
      kept ? version.page.xxh3 == last->version().page.xxh3 && (before == nullptr || same_as_before)
           : same_as_before && !last;
  if (unchanged) {
    ++unchanged_;
    return;
  }
  Versions& versions = lines_[line].pages[page.value];
  const bool has_base = kept && last->versions == &versions &&
                        last->version().page.kind != Kind::kZero &&
                        last->version().differences < PageChunk::kMostDifferences &&
                        before != nullptr && checksum_of_page(*before) == last->version().page.xxh3;
  if (is_zero(content)) {
    version.page.kind = Kind::kZero;
  } else if (has_base) {
    version.page.kind = Kind::kDifference;
    version.differences = static_cast<uint8_t>(last->version().differences + 1);
    Page difference = content;
    apply_difference(difference, before->data());
    const PageVersion& base = last->version().page;
    place(version, difference, {.chunk = base.chunk, .slot = base.slot, .is_difference = 1});
  } else {
    version.page.kind = Kind::kWhole;
    place(version, content, {});
  }
  // A page that was reset by this same snapshot has one version of it.
  if (!versions.empty() && versions.back().snapshot == id) {
    versions.back() = version;
    return;
  }
  versions.push_back(version);
  snapshots_[id.value].changed.push_back(page);
  ++versions_;
}

void PageStore::place(Version& version, std::span<const uint8_t, kPageSize> content,
                      const PageChunk::Base& base) {
  if (filling_.is_empty()) slots_used_.push_back(0);
  version.page.chunk = static_cast<uint32_t>(slots_used_.size() - 1);
  version.page.slot = filling_.add(content, base);
  ++slots_used_.back();
  if (filling_.is_full()) flush();
}

void PageStore::flush() {
  if (filling_.is_empty()) return;
  const ChunkId id{static_cast<uint32_t>(slots_used_.size() - 1)};
  Bytes chunk = filling_.take();
  if (slots_used_.back() != 0) keeper_.put(id, std::move(chunk));
}

Result<std::shared_ptr<const Bytes>> PageStore::chunk(uint32_t id) {
  if (is_filling(id)) return std::make_shared<const Bytes>(filling_.bytes());
  return keeper_.get({id});
}

std::optional<PageStore::Found> PageStore::find(SnapshotId snapshot, GuestAddress page) const {
  SnapshotId limit = snapshot;
  for (const Line* line = &lines_[snapshots_[snapshot.value].line];;) {
    const auto versions = line->pages.find(page.value);
    if (versions != line->pages.end()) {
      const auto after = std::upper_bound(
          versions->second.begin(), versions->second.end(), limit,
          [](SnapshotId value, const Version& version) { return value < version.snapshot; });
      if (after != versions->second.begin()) {
        return Found{&versions->second, static_cast<size_t>(after - versions->second.begin()) - 1};
      }
    }
    if (!line->parent) return std::nullopt;
    limit = *line->parent;
    line = &lines_[snapshots_[limit.value].line];
  }
}

Result<bool> PageStore::read(SnapshotId snapshot, GuestAddress page,
                             std::span<uint8_t, kPageSize> out) {
  const auto found = find(snapshot, page);
  if (!found || found->version().page.kind == Kind::kReset) return false;
  RCHK_TRY(read_page(
      found->version().page, [this](uint32_t id) { return chunk(id); }, out));
  return true;
}

std::vector<GuestAddress> PageStore::pages_of(SnapshotId snapshot) const {
  std::vector<GuestAddress> pages;
  for (std::optional<SnapshotId> limit = snapshot; limit;) {
    const Line& line = lines_[snapshots_[limit->value].line];
    for (const auto& [address, versions] : line.pages) pages.push_back({address});
    limit = line.parent;
  }
  std::sort(pages.begin(), pages.end());
  pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
  std::erase_if(pages, [this, snapshot](GuestAddress page) {
    const auto found = find(snapshot, page);
    return !found || found->version().page.kind == Kind::kReset;
  });
  return pages;
}

std::vector<PageChange> PageStore::changed_in(SnapshotId snapshot) const {
  std::vector<PageChange> changes;
  for (const GuestAddress page : snapshots_[snapshot.value].changed) {
    changes.push_back({page, find(snapshot, page)->version().page});
  }
  return changes;
}

std::vector<PageChange> PageStore::versions_of(SnapshotId snapshot) const {
  std::vector<PageChange> versions;
  for (const GuestAddress page : pages_of(snapshot)) {
    versions.push_back({page, find(snapshot, page)->version().page});
  }
  return versions;
}

std::optional<SnapshotId> PageStore::last_change(SnapshotId last, GuestAddress page) const {
  const auto found = find(last, page);
  if (!found) return std::nullopt;
  return found->version().snapshot;
}

void PageStore::release(const Version& version) {
  --versions_;
  if (!version.page.is_kept()) return;
  const uint32_t chunk = version.page.chunk;
  RCHK_CHECK(slots_used_[chunk] > 0, "chunk {} is not in use", chunk);
  if (--slots_used_[chunk] == 0 && !is_filling(chunk)) keeper_.drop({chunk});
}

void PageStore::drop_before(SnapshotId first) {
  // What a line was when another one began with it is needed as long as that one is.
  std::vector<SnapshotId> needed(lines_.size(), first);
  std::vector<SnapshotId> last(lines_.size());
  for (uint32_t id = 0; id < snapshot_count(); ++id) last[snapshots_[id].line] = {id};
  std::vector<bool> alive(lines_.size());
  for (size_t i = lines_.size(); i-- > 0;) {  // a line's children have higher numbers
    const Line& line = lines_[i];
    alive[i] = alive[i] || !line.ended || last[i] >= first;
    if (!alive[i] || !line.parent) continue;
    const uint32_t parent = line_of(*line.parent);
    alive[parent] = true;
    needed[parent] = std::min(needed[parent], *line.parent);
  }
  for (size_t i = 0; i < lines_.size(); ++i) {
    forget_versions(lines_[i], alive[i] ? std::optional(needed[i]) : std::nullopt);
  }
  for (uint32_t id = 0; id < first.value && id < snapshot_count(); ++id) {
    std::vector<GuestAddress>().swap(snapshots_[id].changed);
  }
}

// All that no snapshot from `first` on is made of; without one, all.
void PageStore::forget_versions(Line& line, std::optional<SnapshotId> first) {
  for (auto page = line.pages.begin(); page != line.pages.end();) {
    Versions& versions = page->second;
    const auto keep =
        versions.begin() +
        static_cast<ptrdiff_t>(first ? first_needed(versions, *first) : versions.size());
    std::for_each(versions.begin(), keep, [this](const Version& version) { release(version); });
    versions.erase(versions.begin(), keep);
    page = versions.empty() ? line.pages.erase(page) : std::next(page);
  }
}

// The index of the first version that a snapshot from `first` on is made of.
size_t PageStore::first_needed(const Versions& versions, SnapshotId first) {
  size_t index = 0;
  while (index + 1 < versions.size() && versions[index + 1].snapshot <= first) ++index;
  return index - versions[index].differences;
}

}  // namespace rchk::snapshot
