#include "engine/trace/page_group.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "snapshot/page_version.h"

namespace rchk::trace {

namespace {

constexpr uint64_t kFullBytes = snapshot::PageChunk::kFullBytes;

}  // namespace

bool PageGroup::takes(snapshot::ChunkId id) const {
  if (is_empty()) return true;
  return !is_full() && id.value == first_.value + count() && chunks_.back()->size() == kFullBytes;
}

void PageGroup::add(snapshot::ChunkId id, Bytes chunk) {
  RCHK_CHECK(takes(id), "chunk {} of pages does not follow", id.value);
  if (is_empty()) first_ = id;
  chunks_.push_back(std::make_shared<const Bytes>(std::move(chunk)));
}

std::shared_ptr<const Bytes> PageGroup::find(snapshot::ChunkId id) const {
  const bool here = id.value >= first_.value && id.value - first_.value < count();
  return here ? chunks_[id.value - first_.value] : nullptr;
}

Bytes PageGroup::take() {
  Bytes all;
  all.reserve(chunks_.size() * kFullBytes);
  for (const auto& chunk : chunks_) all.insert(all.end(), chunk->begin(), chunk->end());
  chunks_.clear();
  return all;
}

uint32_t PageGroup::count_in(uint64_t written_bytes) {
  const uint64_t count = written_bytes / kFullBytes + (written_bytes % kFullBytes != 0 ? 1 : 0);
  return static_cast<uint32_t>(std::clamp<uint64_t>(count, 1, kMostChunks + 1));
}

std::vector<Bytes> PageGroup::parts(ByteView written) {
  std::vector<Bytes> parts;
  const uint32_t count = count_in(written.size());
  for (uint32_t i = 0; i < count; ++i) {
    const ByteView rest = written.subspan(i * kFullBytes);
    parts.emplace_back(rest.begin(), rest.begin() + std::min<size_t>(kFullBytes, rest.size()));
  }
  return parts;
}

}  // namespace rchk::trace
