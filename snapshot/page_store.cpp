#include "snapshot/page_store.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include <xxhash.h>

#include "base/check.h"

namespace rchk::snapshot {

namespace {

constexpr size_t kChunkBytes = PageStore::kChunkPages * kPageSize;

// Pages are read this many at a time where they are neighbours.
constexpr uint64_t kPagesAtOnce = 64;

uint64_t hash_of(std::span<const uint8_t> page) { return XXH3_64bits(page.data(), page.size()); }

bool is_zero(std::span<const uint8_t> page) {
  return page[0] == 0 && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

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
    if (!last || last->version().kind == Kind::kReset) continue;
    lines_[line].pages[page.value].push_back({.snapshot = id});
    snapshots_[id.value].changed.push_back(page);
    ++versions_;
  }
}

void PageStore::add_page(uint32_t line, SnapshotId id, GuestAddress page, const Page& content,
                         const Page* before) {
  const auto last = find(id, page);
  const bool kept = last && last->version().kind != Kind::kReset;
  const bool same_as_before = before != nullptr && *before == content;
  Version version{.snapshot = id, .xxh3 = hash_of(content)};
  // Without a version it is what its mapping began with, before and now.
  const bool unchanged =
      kept ? version.xxh3 == last->version().xxh3 && (before == nullptr || same_as_before)
           : same_as_before && !last;
  if (unchanged) {
    ++unchanged_;
    return;
  }
  Versions& versions = lines_[line].pages[page.value];
  const bool has_base = kept && last->versions == &versions &&
                        last->version().kind != Kind::kZero &&
                        last->version().differences < kMostDifferences && before != nullptr &&
                        hash_of(*before) == last->version().xxh3;
  if (is_zero(content)) {
    version.kind = Kind::kZero;
  } else if (has_base) {
    version.kind = Kind::kDifference;
    version.differences = static_cast<uint8_t>(last->version().differences + 1);
    Page difference = content;
    apply_difference(difference, before->data());
    place(version, difference);
  } else {
    version.kind = Kind::kWhole;
    place(version, content);
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

void PageStore::place(Version& version, std::span<const uint8_t, kPageSize> content) {
  if (filling_.empty()) slots_used_.push_back(0);
  version.chunk = static_cast<uint32_t>(slots_used_.size() - 1);
  version.slot = static_cast<uint8_t>(filling_.size() / kPageSize);
  filling_.insert(filling_.end(), content.begin(), content.end());
  ++slots_used_.back();
  if (filling_.size() == kChunkBytes) flush();
}

void PageStore::flush() {
  if (filling_.empty()) return;
  const ChunkId id{static_cast<uint32_t>(slots_used_.size() - 1)};
  if (slots_used_.back() != 0) keeper_.put(id, filling_);
  filling_.clear();
}

Result<std::shared_ptr<const Bytes>> PageStore::chunk(uint32_t id) {
  if (is_filling(id)) return std::make_shared<const Bytes>(filling_);
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
  if (!found || found->version().kind == Kind::kReset) return false;
  RCHK_TRY(read_version(*found, out));
  if (hash_of(out) != found->version().xxh3) {
    return fail(ErrorKind::kBadTrace,
                fmt::format("page {} of snapshot {} has another checksum than when it was taken",
                            page, snapshot.value));
  }
  return true;
}

Result<void> PageStore::read_version(const Found& found, std::span<uint8_t, kPageSize> out) {
  const Versions& versions = *found.versions;
  const size_t root = found.index - found.version().differences;
  if (versions[root].kind == Kind::kZero) {
    std::memset(out.data(), 0, out.size());
    return {};
  }
  for (size_t i = root; i <= found.index; ++i) {
    RCHK_TRY_ASSIGN(const auto bytes, chunk(versions[i].chunk));
    const size_t offset = versions[i].slot * kPageSize;
    if (offset + kPageSize > bytes->size()) {
      return fail(ErrorKind::kBadTrace,
                  fmt::format("chunk {} of pages is too short", versions[i].chunk));
    }
    if (i == root) {
      std::memcpy(out.data(), bytes->data() + offset, kPageSize);
    } else {
      apply_difference(out, bytes->data() + offset);
    }
  }
  return {};
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
    return !found || found->version().kind == Kind::kReset;
  });
  return pages;
}

std::vector<GuestAddress> PageStore::changed_in(SnapshotId snapshot) const {
  return snapshots_[snapshot.value].changed;
}

std::optional<SnapshotId> PageStore::last_change(SnapshotId last, GuestAddress page) const {
  const auto found = find(last, page);
  if (!found) return std::nullopt;
  return found->version().snapshot;
}

void PageStore::release(const Version& version) {
  --versions_;
  if (version.kind != Kind::kWhole && version.kind != Kind::kDifference) return;
  RCHK_CHECK(slots_used_[version.chunk] > 0, "chunk {} is not in use", version.chunk);
  if (--slots_used_[version.chunk] == 0 && !is_filling(version.chunk))
    keeper_.drop({version.chunk});
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
