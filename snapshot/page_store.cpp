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

uint32_t PageStore::add_line() {
  lines_[next_line_];
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
  Adding adding{line, id, change.kin, now, before};
  adding.have.resize(kPagesAtOnce * kPageSize);
  adding.had.resize(kPagesAtOnce * kPageSize);
  for (const AddressRange& range : change.pages) {
    for (GuestAddress at = range.begin; at < range.end; at = at + adding.have.size()) {
      const uint64_t bytes = std::min<uint64_t>(adding.have.size(), range.end - at);
      RCHK_TRY(add_range(adding, range_of(at, bytes)));
    }
  }
  return id;
}

// REQUIRES: kPagesAtOnce pages at most.
Result<void> PageStore::add_range(Adding& adding, const AddressRange& range) {
  const auto whole_pages = [](size_t bytes) { return bytes / kPageSize * kPageSize; };
  const ReadMemory &now = adding.now, &before = adding.before;
  const uint64_t bytes = range.size();
  const size_t readable = whole_pages(now(range.begin, {adding.have.data(), bytes}));
  const size_t known = before ? whole_pages(before(range.begin, {adding.had.data(), bytes})) : 0;
  std::vector<Newcomer> newcomers;
  if (!adding.kin.empty()) newcomers.reserve(bytes / kPageSize);
  for (size_t offset = 0; offset < bytes; offset += kPageSize) {
    const GuestAddress page = range.begin + offset;
    Page content, earlier;
    // What one read did not get past may be readable behind it.
    if (!page_from(page, adding.have, offset, readable, now, content)) continue;
    const bool has_earlier = before && page_from(page, adding.had, offset, known, before, earlier);
    if (adding.kin.empty() || has_earlier || is_zero(content) || has(adding.id, page)) {
      add_page(adding, page, content, has_earlier ? &earlier : nullptr);
    } else {
      Newcomer& newcomer = newcomers.emplace_back();
      newcomer.page = page;
      newcomer.content = content;
      newcomer.like = find_in_kin(adding, newcomer);
    }
  }
  return add_newcomers(adding, newcomers);
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

void PageStore::add_page(const Adding& adding, GuestAddress page, const Page& content,
                         const Page* before) {
  const SnapshotId id = adding.id;
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
  Versions& versions = lines_.at(adding.line).pages[page.value];
  const bool has_base = kept && last->version().page.kind != Kind::kZero &&
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

// The version that has the content, as far as its checksum tells, or else the latest one of the
// first line that has one.
std::optional<PageStore::Found> PageStore::find_in_kin(const Adding& adding,
                                                       const Newcomer& newcomer) const {
  const uint64_t xxh3 = checksum_of_page(newcomer.content);
  std::optional<Found> latest;
  for (const uint32_t number : adding.kin) {
    const auto line = lines_.find(number);
    if (line == lines_.end()) continue;
    const auto found = line->second.pages.find(newcomer.page.value);
    if (found == line->second.pages.end()) continue;
    const Versions& versions = found->second;
    for (size_t i = versions.size(); i-- > 0;) {
      const PageVersion& version = versions[i].page;
      if (version.is_kept() && version.xxh3 == xxh3) return Found{&versions, i};
    }
    if (!latest && versions.back().page.is_kept()) latest = Found{&versions, versions.size() - 1};
  }
  return latest;
}

Result<void> PageStore::add_newcomers(const Adding& adding,
                                      const std::vector<Newcomer>& newcomers) {
  std::vector<PageChange> wanted;
  for (const Newcomer& newcomer : newcomers) {
    if (newcomer.like) wanted.push_back({newcomer.page, newcomer.like->version().page});
  }
  for (const Newcomer& newcomer : newcomers) {
    if (!newcomer.like) add_page(adding, newcomer.page, newcomer.content, nullptr);
  }
  return read_pages(
      wanted, [this](uint32_t id) { return chunk(id); },
      [&](GuestAddress page, std::span<const uint8_t, kPageSize> kin) -> Result<void> {
        const auto newcomer = std::lower_bound(
            newcomers.begin(), newcomers.end(), page,
            [](const Newcomer& item, GuestAddress value) { return item.page < value; });
        Page content;
        std::copy(kin.begin(), kin.end(), content.begin());
        add_like_kin(adding, *newcomer, content);
        return {};
      });
}

// `kin` is what the version has that the newcomer may be like. That one comes along with all that
// it stands on, so that each line can be forgotten by itself.
//
//   kin's versions   whole  xor  xor  whole  xor           slots   3.0  3.4  5.2  7.1  7.8
//                                 ^
//   the newcomer's   whole  xor  xor                       equal:  3.0  3.4  5.2
//   or               whole  xor  xor  xor                          3.0  3.4  5.2  9.0
void PageStore::add_like_kin(const Adding& adding, const Newcomer& newcomer, const Page& kin) {
  const Version like = newcomer.like->version();
  const bool equal = kin == newcomer.content;
  if (!equal && like.differences == PageChunk::kMostDifferences) {
    add_page(adding, newcomer.page, newcomer.content, nullptr);
    return;
  }
  Versions& versions = lines_.at(adding.line).pages[newcomer.page.value];
  std::vector<GuestAddress>& changed = snapshot_at(adding.id).changed;
  if (!versions.empty() && versions.back().snapshot == adding.id) {
    versions.pop_back();  // it was reset by this same snapshot, and like what it was before
    --versions_;
  } else {
    changed.push_back(newcomer.page);
  }
  const size_t last = newcomer.like->index;
  for (size_t i = last - like.differences; i <= last; ++i) {
    Version version = (*newcomer.like->versions)[i];  // perhaps of `versions` itself
    version.snapshot = adding.id;
    ++slots_used_[version.page.chunk - first_chunk_];
    versions.push_back(version);
    ++versions_;
  }
  if (equal) {
    ++shared_;
    return;
  }
  Version version{.snapshot = adding.id};
  version.page.kind = Kind::kDifference;
  version.page.xxh3 = checksum_of_page(newcomer.content);
  version.differences = static_cast<uint8_t>(like.differences + 1);
  Page difference = newcomer.content;
  apply_difference(difference, kin.data());
  place(version, difference,
        {.chunk = like.page.chunk, .slot = like.page.slot, .is_difference = 1});
  versions.push_back(version);
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
  const Line& line = lines_.at(line_of(snapshot));
  const auto versions = line.pages.find(page.value);
  if (versions == line.pages.end()) return std::nullopt;
  const auto after = std::upper_bound(
      versions->second.begin(), versions->second.end(), snapshot,
      [](SnapshotId value, const Version& version) { return value < version.snapshot; });
  if (after == versions->second.begin()) return std::nullopt;
  return Found{&versions->second, static_cast<size_t>(after - versions->second.begin()) - 1};
}

bool PageStore::has(SnapshotId snapshot, GuestAddress page) const {
  const auto found = find(snapshot, page);
  return found && found->version().page.kind != Kind::kReset;
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
  for (const auto& [address, versions] : lines_.at(line_of(snapshot)).pages) {
    pages.push_back({address});
  }
  std::sort(pages.begin(), pages.end());
  std::erase_if(pages, [this, snapshot](GuestAddress page) { return !has(snapshot, page); });
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
  uint64_t& used = slots_used_[page.chunk - first_chunk_];
  RCHK_CHECK(used > 0, "chunk {} is not in use", page.chunk);
  if (--used == 0 && !is_filling(page.chunk)) keeper_.drop({page.chunk});
}

void PageStore::drop_before(SnapshotId first) {
  for (auto line = lines_.begin(); line != lines_.end();) {
    const std::optional<SnapshotId> last = line->second.last;
    const bool lives = !line->second.ended || (last && *last >= first);
    forget_versions(line->second, lives ? std::optional(first) : std::nullopt);
    line = lives ? std::next(line) : lines_.erase(line);
  }
  for (; first_snapshot_ < first.value && !snapshots_.empty(); ++first_snapshot_) {
    snapshots_.pop_front();
  }
  while (!slots_used_.empty() && slots_used_.front() == 0 && !is_filling(first_chunk_)) {
    slots_used_.pop_front();
    ++first_chunk_;
  }
}

Result<void> PageStore::rewrite(const std::vector<uint32_t>& lines) {
  Moved moved;
  for (const uint32_t line : lines) RCHK_TRY(rewrite_line(lines_.at(line), moved));
  return {};
}

Result<void> PageStore::rewrite_line(Line& line, Moved& moved) {
  const auto replace = [this](Version& version, const PageVersion& by) {
    release_content(std::exchange(version.page, by));
    version.differences = 0;
  };
  std::vector<PageChange> pages;
  for (auto& [address, versions] : line.pages) {
    Version& version = versions.back();
    if (!version.page.is_kept()) continue;
    const auto there = moved.find({version.page.chunk, version.page.slot});
    if (there == moved.end()) {
      pages.push_back({{address}, version.page});
      continue;
    }
    ++slots_used_[there->second.chunk - first_chunk_];
    replace(version, there->second);
  }
  std::sort(pages.begin(), pages.end(),
            [](const PageChange& a, const PageChange& b) { return a.page < b.page; });
  return read_pages(
      pages, [this](uint32_t id) { return chunk(id); },
      [&](GuestAddress page, std::span<const uint8_t, kPageSize> content) -> Result<void> {
        Version& version = line.pages.at(page.value).back();
        Version whole = version;
        whole.page.kind = Kind::kWhole;
        place(whole, content, {});
        moved[{version.page.chunk, version.page.slot}] = whole.page;
        replace(version, whole.page);
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
