#include "engine/trace/snapshot_writer.h"

#include <algorithm>

#include "engine/trace/codec.h"

namespace rchk::trace {

namespace {

using snapshot::PageChange;

// Pages that changed since the last directory before another one pays.
constexpr uint64_t kFewestChangesForDirectory = 1024;
// Neighbouring pages lie in the same ones, of half a megabyte.
constexpr size_t kRecentGroups = 32;

// The holder may have something else at pages that it is not to be asked for.
size_t read_held(const PageDelta& delta, GuestAddress address, std::span<uint8_t> out) {
  const auto range = std::upper_bound(
      delta.held.begin(), delta.held.end(), address,
      [](GuestAddress value, const AddressRange& held) { return value < held.end; });
  if (range == delta.held.end() || !range->contains(address)) return 0;
  return delta.holder->read(address, out.first(std::min<size_t>(out.size(), range->end - address)));
}

bool still_holds(const PageDelta& delta) {
  uint8_t byte = 0;
  return delta.held.empty() || delta.holder->read(delta.held.front().begin, {&byte, 1}) == 1;
}

}  // namespace

SnapshotWriter::Keeper::Keeper(ChunkOutput& output) : output_(output), recent_(kRecentGroups) {}

void SnapshotWriter::Keeper::put(snapshot::ChunkId id, Bytes chunk) {
  if (!group_.takes(id)) write_group();
  if (failure_) return;
  group_.add(id, std::move(chunk));
  if (group_.is_full()) write_group();
}

void SnapshotWriter::Keeper::write_group() {
  if (failure_ || group_.is_empty()) return;
  const uint32_t first = group_.first().value, count = group_.count();
  ChunkHeader header;
  header.type = static_cast<uint16_t>(ChunkType::kPages);
  if (count > 1) header.version = kPageGroups;
  header.key = first;
  const auto written = output_.chunk(header, group_.take());
  if (!written) {
    failure_ = written.error();
    return;
  }
  for (uint32_t i = 0; i < count; ++i) written_[first + i] = {*written, i};
}

Result<std::shared_ptr<const Bytes>> SnapshotWriter::Keeper::get(snapshot::ChunkId id) {
  if (auto waiting = group_.find(id)) return waiting;
  const auto found = written_.find(id.value);
  if (found == written_.end()) {
    return fail(ErrorKind::kMisuse, fmt::format("chunk {} of pages is not there", id.value));
  }
  const Place& place = found->second;
  RCHK_TRY_ASSIGN(const auto group,
                  recent_.get(place.group.offset, [&]() -> Result<std::vector<Bytes>> {
                    RCHK_TRY_ASSIGN(const Bytes raw, output_.read(place.group));
                    return PageGroup::parts(raw);
                  }));
  return std::shared_ptr<const Bytes>(group, &group->at(place.index));
}

Result<void> SnapshotWriter::Keeper::flush() {
  write_group();
  return failure_ ? Result<void>(Failure(*failure_)) : Result<void>();
}

SnapshotWriter::SnapshotWriter(ChunkOutput& output, uint64_t budget_bytes)
    : output_(output), keeper_(output), pages_(keeper_, budget_bytes) {}

SnapshotWriter::Line& SnapshotWriter::line_of(uint32_t space) {
  auto [entry, fresh] = lines_.try_emplace(space);
  if (fresh) entry->second.number = pages_.add_line();
  return entry->second;
}

// Before anything is made of it: while it is held, each page that the guest stores to the kernel
// copies first, in the guest's time. Not of very many pages.
void SnapshotWriter::copy_held(PageDelta& delta) {
  constexpr uint64_t kMostPages = (128 << 20) / kPageSize;
  if (!delta.holder || snapshot::total_pages(delta.held) > kMostPages) {
    copy_.reset();
    return;
  }
  if (!copy_) copy_ = std::make_shared<MemoryCopy>();
  if (copy_->take(*delta.holder, delta.held) && still_holds(delta)) delta.holder = copy_;
}

Result<void> SnapshotWriter::add(const Snapshot& snapshot, PageDelta delta) {
  copy_held(delta);
  const uint32_t space = snapshot.image.space;
  if (lost_.count(space) != 0) return {};
  const bool fresh = lines_.count(space) == 0;
  std::vector<uint32_t> kin;
  if (fresh) kin = kin_of(space);
  RCHK_TRY_ASSIGN(const snapshot::SnapshotId id, add_pages(space, delta, std::move(kin)));
  Line& line = line_of(space);
  if (delta.holder && !still_holds(delta)) {
    end_space(space);
    lost_.insert(space);
    return {};
  }
  // A snapshot comes behind the contents that it names.
  pages_.store().flush();
  RCHK_TRY(keeper_.flush());
  std::vector<PageChange> changes = pages_.store().changed_in(id);
  std::sort(changes.begin(), changes.end(),
            [](const PageChange& a, const PageChange& b) { return a.page < b.page; });
  ChunkHeader header;
  header.type = static_cast<uint16_t>(ChunkType::kSnapshot);
  header.label = space;
  header.key = snapshot.event.value;
  RCHK_TRY(output_.chunk(header, encode_snapshot(snapshot, changes)));
  ++snapshots_;
  // The first one is as good as a directory.
  if (!fresh) {
    line.changes_since_directory += changes.size();
    RCHK_TRY(write_directory(space, line, id));
  }
  // The file has what is older.
  if (pages_.store().version_count() > 2 * versions_kept_ + kFewestChangesForDirectory) {
    pages_.drop_before(id);
    versions_kept_ = pages_.store().version_count();
  }
  return {};
}

void SnapshotWriter::begin_fork(uint32_t space, uint32_t parent) {
  // Spaces are numbered in the order in which they begin.
  if (parent < space) descents_[space] = {parent, family_of(parent)};
}

uint32_t SnapshotWriter::family_of(uint32_t space) const {
  const auto descent = descents_.find(space);
  return descent == descents_.end() ? space : descent->second.family;
}

// Of those that a space has pages in common with: the nearest that it came from, and whichever of
// its family had a snapshot last. A parent may wait for its children, and have none.
std::vector<uint32_t> SnapshotWriter::kin_of(uint32_t space) const {
  const Line* nearest = nullptr;
  for (auto at = descents_.find(space); at != descents_.end() && nearest == nullptr;
       at = descents_.find(at->second.parent)) {
    const auto line = lines_.find(at->second.parent);
    if (line != lines_.end()) nearest = &line->second;
  }
  const Line* latest = nullptr;
  for (const auto& [other, line] : lines_) {
    if (other == space || family_of(other) != family_of(space)) continue;
    if (latest == nullptr || latest->last < line.last) latest = &line;
  }
  std::vector<uint32_t> kin;
  if (nearest != nullptr) kin.push_back(nearest->number);
  if (latest != nullptr && latest != nearest) kin.push_back(latest->number);
  return kin;
}

Result<snapshot::SnapshotId> SnapshotWriter::add_pages(uint32_t space, const PageDelta& delta,
                                                       std::vector<uint32_t> kin) {
  snapshot::PageStore::Change change{delta.held, delta.reset, std::move(kin)};
  for (const snapshot::PageRun& run : delta.pages) {
    change.pages.push_back(range_of(run.address, run.bytes.size()));
  }
  change.pages = snapshot::normalized(std::move(change.pages));
  Line& line = line_of(space);
  Result<snapshot::SnapshotId> added =
      pages_.add(line.number, change, [&delta](GuestAddress address, std::span<uint8_t> out) {
        const size_t got = snapshot::read_runs(delta.pages, address, out);
        return got != 0 ? got : read_held(delta, address, out);
      });
  // What could not be written cannot be read.
  RCHK_TRY(keeper_.flush());
  if (added) line.last = *added;
  return added;
}

// Where the changes since the last one are as many as a directory has pages, a reader of any
// snapshot reads no more than twice of what it needs.
Result<void> SnapshotWriter::write_directory(uint32_t space, Line& line, snapshot::SnapshotId id) {
  if (line.changes_since_directory < kFewestChangesForDirectory) return {};
  const std::vector<PageChange> pages = pages_.store().versions_of(id);
  if (line.changes_since_directory < pages.size()) return {};
  line.changes_since_directory = 0;
  ChunkHeader header;
  header.type = static_cast<uint16_t>(ChunkType::kPageDirectory);
  header.label = snapshots_ - 1;
  header.key = space;
  RCHK_TRY(output_.chunk(header, encode_pages(pages)));
  return {};
}

Result<Beginning> SnapshotWriter::begin_anew(std::vector<KeptProcess> processes) {
  RCHK_TRY_ASSIGN(const std::vector<snapshot::SnapshotId> ids, add_pages_of(processes));
  std::vector<uint32_t> lines;
  for (const KeptProcess& process : processes) {
    lines.push_back(line_of(process.event.space).number);
  }
  snapshot::PageStore& store = pages_.store();
  RCHK_TRY(store.rewrite(lines));
  store.flush();
  RCHK_TRY(keeper_.flush());
  return beginning_of(std::move(processes), ids);
}

Result<Beginning> SnapshotWriter::add_beginning(std::vector<KeptProcess> processes) {
  RCHK_TRY_ASSIGN(const std::vector<snapshot::SnapshotId> ids, add_pages_of(processes));
  return beginning_of(std::move(processes), ids);
}

Result<std::vector<snapshot::SnapshotId>> SnapshotWriter::add_pages_of(
    std::vector<KeptProcess>& processes) {
  std::vector<snapshot::SnapshotId> ids;
  for (KeptProcess& process : processes) {
    const uint32_t space = process.event.space;
    // Of one that waits without a tracker all is given anew, most of it as it was.
    std::vector<uint32_t> kin = kin_of(space);
    kin.insert(kin.begin(), line_of(space).number);
    RCHK_TRY_ASSIGN(const snapshot::SnapshotId id, add_pages(space, process.delta, std::move(kin)));
    process.delta = {};
    ids.push_back(id);
  }
  // What was put so far is read back from where it is.
  pages_.store().flush();
  RCHK_TRY(keeper_.flush());
  return ids;
}

Beginning SnapshotWriter::beginning_of(std::vector<KeptProcess> processes,
                                       const std::vector<snapshot::SnapshotId>& ids) {
  snapshot::PageStore& store = pages_.store();
  Beginning beginning;
  beginning.snapshots = snapshots_;
  for (size_t i = 0; i < processes.size(); ++i) {
    Event& event = processes[i].event;
    line_of(event.space).changes_since_directory = 0;
    processes[i].resumed.pages = store.versions_of(ids[i]);
    std::get<ExecEvent>(event.body).resumed =
        std::make_shared<const Resumed>(std::move(processes[i].resumed));
    beginning.processes.push_back(std::move(event));
  }
  pages_.drop_before(ids.back());
  versions_kept_ = store.version_count();
  return beginning;
}

void SnapshotWriter::end_space(uint32_t space) {
  const auto line = lines_.find(space);
  lost_.erase(space);
  descents_.erase(space);
  if (line == lines_.end()) return;
  pages_.end_line(line->second.number);
  lines_.erase(line);
}

}  // namespace rchk::trace
