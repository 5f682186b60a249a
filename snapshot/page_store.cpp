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
  lines_[next_line_].parent = parent;
  return next_line_++;
}

void PageStore::end_line(uint32_t line) { lines_.at(line).ended = true; }

Result<SnapshotId> PageStore::add(uint32_t line, const Change& change, const ReadMemory& now,
                                  const ReadMemory& before) {
  const auto known = lines_.find(line);
  if (known == lines_.end() || known->second.ended) {
    return fail(ErrorKind::kMisuse, fmt::format("line {} of snapshots does not exist", line));
  }
  const SnapshotId id{snapshot_count()};
  snapshots_.push_back({line, {}});
  known->second.last = id;
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
    lines_.at(line).pages[page.value].push_back({.snapshot = id});
    snapshot_at(id).changed.push_back(page);
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
  Versions& versions = lines_.at(line).pages[page.value];
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
  snapshot_at(id).changed.push_back(page);
  ++versions_;
}

void PageStore::place(Version& version, std::span<const uint8_t, kPageSize> content,
                      const PageChunk::Base& base) {
  if (filling_.is_empty()) slots_used_.push_back(0);
  version.page.chunk = chunk_count() - 1;
  version.page.slot = filling_.add(content, base);
  ++slots_used_.back();
  if (filling_.is_full()) flush();
}

void PageStore::flush() {
  if (filling_.is_empty()) return;
  const ChunkId id{chunk_count() - 1};
  Bytes chunk = filling_.take();
  if (slots_used_.back() != 0) keeper_.put(id, std::move(chunk));
}

Result<std::shared_ptr<const Bytes>> PageStore::chunk(uint32_t id) {
  if (is_filling(id)) return std::make_shared<const Bytes>(filling_.bytes());
  return keeper_.get({id});
}

std::optional<PageStore::Found> PageStore::find(SnapshotId snapshot, GuestAddress page) const {
  SnapshotId limit = snapshot;
  for (const Line* line = &lines_.at(line_of(snapshot));;) {
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
    line = &lines_.at(line_of(limit));
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
    const Line& line = lines_.at(line_of(*limit));
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
  for (const GuestAddress page : snapshot_at(snapshot).changed) {
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
  if (version.page.is_kept()) release_content(version.page);
}

void PageStore::release_content(const PageVersion& page) {
  uint8_t& used = slots_used_[page.chunk - first_chunk_];
  RCHK_CHECK(used > 0, "chunk {} is not in use", page.chunk);
  if (--used == 0 && !is_filling(page.chunk)) keeper_.drop({page.chunk});
}

void PageStore::drop_before(SnapshotId first) {
  // What a line was when another one began with it is needed as long as that one is.
  std::map<uint32_t, SnapshotId> needed;  // of lines that live
  SnapshotId oldest = first;
  for (auto line = lines_.rbegin(); line != lines_.rend(); ++line) {  // children come last
    const auto& [number, item] = *line;
    const bool alive = !item.ended || (item.last && *item.last >= first) || needed.contains(number);
    if (!alive) continue;
    needed.try_emplace(number, first);
    if (!item.parent) continue;
    SnapshotId& parent = needed.try_emplace(line_of(*item.parent), first).first->second;
    parent = std::min(parent, *item.parent);
    oldest = std::min(oldest, *item.parent);
  }
  for (auto line = lines_.begin(); line != lines_.end();) {
    const auto kept = needed.find(line->first);
    const bool lives = kept != needed.end();
    forget_versions(line->second, lives ? std::optional(kept->second) : std::nullopt);
    line = lives ? std::next(line) : lines_.erase(line);
  }
  for (uint32_t id = first_snapshot_; id < first.value && id < snapshot_count(); ++id) {
    std::vector<GuestAddress>().swap(snapshot_at({id}).changed);
  }
  for (; first_snapshot_ < oldest.value && !snapshots_.empty(); ++first_snapshot_) {
    snapshots_.pop_front();
  }
  while (!slots_used_.empty() && slots_used_.front() == 0 && !is_filling(first_chunk_)) {
    slots_used_.pop_front();
    ++first_chunk_;
  }
}

Result<void> PageStore::rewrite(uint32_t line) {
  Line& rewritten = lines_.at(line);
  if (!rewritten.last) return {};
  std::vector<PageChange> pages;
  for (const PageChange& page : versions_of(*rewritten.last)) {
    if (page.version.is_kept()) pages.push_back(page);
  }
  return read_pages(
      pages, [this](uint32_t id) { return chunk(id); },
      [&](GuestAddress page, std::span<const uint8_t, kPageSize> content) -> Result<void> {
        const auto found = rewritten.pages.find(page.value);
        RCHK_CHECK(found != rewritten.pages.end(), "line {} began with another's pages", line);
        Version& version = found->second.back();
        const PageVersion before = version.page;
        version.page.kind = Kind::kWhole;
        version.differences = 0;
        place(version, content, {});
        release_content(before);
        return {};
      });
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
