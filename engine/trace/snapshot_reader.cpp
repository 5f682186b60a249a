#include "engine/trace/snapshot_reader.h"

#include <algorithm>

#include "engine/trace/codec.h"
#include "engine/trace/page_group.h"

namespace rchk::trace {

namespace {

using snapshot::PageChange;

constexpr size_t kRecentSnapshots = 16;
constexpr size_t kRecentGroups = 16;  // of half a megabyte
constexpr size_t kRecentBeginnings = 2;

// Puts later changes over earlier pages; both are in order of address.
std::vector<PageChange> merged(const std::vector<PageChange>& pages,
                               const std::vector<PageChange>& changes) {
  std::vector<PageChange> all;
  all.reserve(pages.size() + changes.size());
  auto page = pages.begin();
  for (const PageChange& change : changes) {
    while (page != pages.end() && page->page < change.page) all.push_back(*page++);
    if (page != pages.end() && page->page == change.page) ++page;
    all.push_back(change);
  }
  all.insert(all.end(), page, pages.end());
  return all;
}

}  // namespace

SnapshotReader::SnapshotReader(const Container& container)
    : container_(container),
      recent_(kRecentSnapshots),
      recent_groups_(kRecentGroups),
      recent_beginnings_(kRecentBeginnings) {}
SnapshotReader::~SnapshotReader() = default;

Result<void> SnapshotReader::take_in(const IndexEntry& chunk) {
  switch (chunk.chunk_type()) {
    case ChunkType::kPages:
      if (chunk.key > UINT32_MAX || PageGroup::count_in(chunk.raw_bytes) > PageGroup::kMostChunks) {
        return container_.bad(chunk.offset, "a chunk of pages too many");
      }
      for (uint32_t i = 0; i < PageGroup::count_in(chunk.raw_bytes); ++i) {
        chunks_[static_cast<uint32_t>(chunk.key) + i] = {chunk, i};
      }
      break;
    case ChunkType::kSnapshot: {
      const EventNumber event = event_here(chunk.key);
      if (chunk.key < numbers_.first_event || (!marks_.empty() && event < marks_.back().event)) {
        return container_.bad(chunk.offset, "snapshots that are not in the order of events");
      }
      const SnapshotNumber number{static_cast<uint32_t>(marks_.size())};
      marks_.push_back({event, chunk.label});
      Entry entry{chunk, std::nullopt, std::nullopt, std::nullopt};
      const auto last = last_of_space_.find(chunk.label);
      if (last != last_of_space_.end()) {
        entry.before = last->second;
      } else {
        entry.beginning = beginning_;
      }
      last_of_space_[chunk.label] = number;
      entries_.push_back(entry);
      break;
    }
    case ChunkType::kPageDirectory:
      // Numbers of snapshots are of 32 bits, and begin anew behind that.
      if (marks_.empty() || chunk.label - numbers_.snapshots != marks_.size() - 1) {
        return container_.bad(chunk.offset, "a directory of pages that is of no snapshot");
      }
      entries_.back().directory = chunk;
      break;
    case ChunkType::kBeginning:
      beginning_ = chunk;
      last_of_space_.clear();
      beginnings_.push_back(event_here(chunk.key));
      beginning_chunks_.push_back(chunk);
      break;
    default:
      return {};
  }
  stored_bytes_ += chunk.stored_bytes;
  return {};
}

void SnapshotReader::count_from(Numbers numbers) {
  numbers_ = std::move(numbers);
  // The one that it is counted from is the start.
  beginnings_.clear();
  beginning_chunks_.clear();
}

std::string SnapshotReader::place_of(const IndexEntry& chunk) const {
  return fmt::format("{}, in the chunk at {}", container_.name(), chunk.offset);
}

Result<const SnapshotReader::Entry*> SnapshotReader::entry(SnapshotNumber number) const {
  if (number.value < entries_.size()) return &entries_[number.value];
  return fail(ErrorKind::kMisuse, fmt::format("there is no snapshot {}", number.value));
}

Result<std::shared_ptr<const DecodedSnapshot>> SnapshotReader::decoded(SnapshotNumber number) {
  RCHK_TRY_ASSIGN(const Entry* const found, entry(number));
  const IndexEntry& chunk = found->chunk;
  return recent_.get(number.value, [&]() -> Result<DecodedSnapshot> {
    RCHK_TRY_ASSIGN(const Buffer raw, container_.load(chunk, decoder_));
    RCHK_TRY_ASSIGN(DecodedSnapshot decoded, decode_snapshot(raw.view(), place_of(chunk), 0));
    decoded.snapshot.event = marks_[number.value].event;
    decoded.snapshot.program = program_here(decoded.snapshot.program, chunk.label);
    if (decoded.snapshot.image.space != chunk.label) {
      return container_.bad(chunk.offset, "a snapshot of another space than its header says");
    }
    return decoded;
  });
}

// The number of an ExecEvent, or of the one that stands for it where it was dropped.
EventNumber SnapshotReader::program_here(EventNumber program, uint32_t space) const {
  if (numbers_.programs.empty()) return program;
  if (program.value >= numbers_.first_event) {
    return {program.value - numbers_.first_event + numbers_.resumed};
  }
  EventNumber found{0};
  for (size_t i = numbers_.programs.size(); i-- > 0;) {
    const auto& [event, of_space] = numbers_.programs[i];
    if (of_space == space) return {i};
    if (event == program.value) found = {i};
  }
  return found;
}

Result<std::shared_ptr<const Snapshot>> SnapshotReader::snapshot(SnapshotNumber number) {
  std::lock_guard lock(mutex_);
  RCHK_TRY_ASSIGN(const auto found, decoded(number));
  return std::shared_ptr<const Snapshot>(found, &found->snapshot);
}

Result<std::vector<PageChange>> SnapshotReader::changes(SnapshotNumber number) {
  std::lock_guard lock(mutex_);
  RCHK_TRY_ASSIGN(const auto found, decoded(number));
  return found->changes;
}

Result<std::shared_ptr<const Beginning>> SnapshotReader::decoded_beginning(
    const IndexEntry& chunk) {
  return recent_beginnings_.get(chunk.offset, [&]() -> Result<Beginning> {
    RCHK_TRY_ASSIGN(const Buffer raw, container_.load(chunk, decoder_));
    return decode_beginning(raw.view(), place_of(chunk), 0);
  });
}

Result<std::shared_ptr<const std::vector<Event>>> SnapshotReader::beginning(size_t index) {
  std::lock_guard lock(mutex_);
  if (index >= beginning_chunks_.size()) {
    return fail(ErrorKind::kMisuse, fmt::format("there is no beginning {}", index));
  }
  RCHK_TRY_ASSIGN(const auto found, decoded_beginning(beginning_chunks_[index]));
  return std::shared_ptr<const std::vector<Event>>(found, &found->processes);
}

// What a space had at a beginning; nothing if it was not there yet.
Result<std::vector<PageChange>> SnapshotReader::pages_at(const IndexEntry& chunk, uint32_t space) {
  RCHK_TRY_ASSIGN(const auto beginning, decoded_beginning(chunk));
  for (const Event& event : beginning->processes) {
    if (event.space == space) return std::get<ExecEvent>(event.body).resumed->pages;
  }
  return std::vector<PageChange>();
}

Result<std::vector<PageChange>> SnapshotReader::pages(SnapshotNumber number) {
  std::lock_guard lock(mutex_);
  std::vector<SnapshotNumber> way;  // from `number` back to a directory or the beginning
  std::vector<PageChange> pages;
  for (std::optional<SnapshotNumber> at = number; at;) {
    RCHK_TRY_ASSIGN(const Entry* const found, entry(*at));
    if (found->directory) {
      RCHK_TRY_ASSIGN(const Buffer raw, container_.load(*found->directory, decoder_));
      RCHK_TRY_ASSIGN(pages, decode_pages(raw.view(), place_of(*found->directory), 0));
      break;
    }
    way.push_back(*at);
    at = found->before;
    if (!at && found->beginning) {
      RCHK_TRY_ASSIGN(pages, pages_at(*found->beginning, found->chunk.label));
    }
  }
  for (auto at = way.rbegin(); at != way.rend(); ++at) {
    RCHK_TRY_ASSIGN(const auto found, decoded(*at));
    pages = merged(pages, found->changes);
  }
  std::erase_if(pages, [](const PageChange& page) {
    return page.version.kind == snapshot::PageVersion::Kind::kReset;
  });
  return pages;
}

Result<std::shared_ptr<const Bytes>> SnapshotReader::page_chunk(uint32_t id) {
  std::lock_guard lock(mutex_);
  const auto found = chunks_.find(id);
  if (found == chunks_.end()) {
    return fail(ErrorKind::kBadTrace,
                fmt::format("{}: has no chunk {} of pages", container_.name(), id));
  }
  const auto& [chunk, index] = found->second;
  RCHK_TRY_ASSIGN(const auto group,
                  recent_groups_.get(chunk.offset, [&]() -> Result<std::vector<Bytes>> {
                    RCHK_TRY_ASSIGN(const Buffer raw, container_.load(chunk, decoder_));
                    return PageGroup::parts(raw.view());
                  }));
  return std::shared_ptr<const Bytes>(group, &group->at(index));
}

}  // namespace rchk::trace
