#include "engine/trace/snapshot_writer.h"

#include <algorithm>

#include "engine/trace/codec.h"

namespace rchk::trace {

namespace {

using snapshot::PageChange;

// Pages that changed since the last directory before another one pays.
constexpr uint64_t kFewestChangesForDirectory = 1024;

}  // namespace

void SnapshotWriter::Keeper::put(snapshot::ChunkId id, Bytes chunk) {
  if (failure_) return;
  ChunkHeader header;
  header.type = static_cast<uint16_t>(ChunkType::kPages);
  header.key = id.value;
  if (const auto written = output_.chunk(header, chunk); !written) failure_ = written.error();
}

Result<std::shared_ptr<const Bytes>> SnapshotWriter::Keeper::get(snapshot::ChunkId id) {
  return fail(ErrorKind::kMisuse,
              fmt::format("chunk {} is asked for while it is written", id.value));
}

Result<void> SnapshotWriter::Keeper::result() const {
  return failure_ ? Result<void>(Failure(*failure_)) : Result<void>();
}

SnapshotWriter::SnapshotWriter(ChunkOutput& output, uint64_t budget_bytes)
    : output_(output), keeper_(output), pages_(keeper_, budget_bytes) {}

Result<void> SnapshotWriter::add(const Snapshot& snapshot, const PageDelta& delta) {
  const uint32_t space = snapshot.image.space;
  auto [entry, fresh] = lines_.try_emplace(space);
  Line& line = entry->second;
  if (fresh) line.number = pages_.add_line();
  RCHK_TRY_ASSIGN(const snapshot::SnapshotId id, pages_.add(line.number, delta.reset, delta.pages));
  // A snapshot comes behind the contents that it names.
  pages_.store().flush();
  RCHK_TRY(keeper_.result());
  std::vector<PageChange> changes = pages_.store().changed_in(id);
  std::sort(changes.begin(), changes.end(),
            [](const PageChange& a, const PageChange& b) { return a.page < b.page; });
  ChunkHeader header;
  header.type = static_cast<uint16_t>(ChunkType::kSnapshot);
  header.label = space;
  header.key = snapshot.event.value;
  RCHK_TRY(output_.chunk(header, encode_snapshot(snapshot, changes)));
  line.changes_since_directory += changes.size();
  if (!fresh) RCHK_TRY(write_directory(space, line, id));
  // The file has what is older.
  if (pages_.store().version_count() > 2 * versions_kept_ + kFewestChangesForDirectory) {
    pages_.drop_before(id);
    versions_kept_ = pages_.store().version_count();
  }
  return {};
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
  header.label = id.value;
  header.key = space;
  return output_.chunk(header, encode_pages(pages));
}

void SnapshotWriter::end_space(uint32_t space) {
  const auto line = lines_.find(space);
  if (line == lines_.end()) return;
  pages_.end_line(line->second.number);
  lines_.erase(line);
}

}  // namespace rchk::trace
