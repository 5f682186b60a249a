#include "snapshot/chunk_keeper.h"

#include <algorithm>

#include <xxhash.h>
#include <zstd.h>

#include "base/check.h"

namespace rchk::snapshot {

namespace {

constexpr int kLevel = 1;
constexpr size_t kMostWaiting = 256;  // 16 MiB
constexpr size_t kMostRecent = 64;    // 4 MiB

}  // namespace

MemoryChunkKeeper::MemoryChunkKeeper() : worker_([this] { work(); }) {}

MemoryChunkKeeper::~MemoryChunkKeeper() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  worker_.join();
}

void MemoryChunkKeeper::put(ChunkId id, Bytes chunk) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return waiting_.size() < kMostWaiting; });
  waiting_[id.value] = std::make_shared<const Bytes>(std::move(chunk));
  changed_.notify_all();
}

void MemoryChunkKeeper::remember(ChunkId id, std::shared_ptr<const Bytes> chunk) {
  recent_.emplace_front(id.value, std::move(chunk));
  if (recent_.size() > kMostRecent) recent_.pop_back();
}

Result<std::shared_ptr<const Bytes>> MemoryChunkKeeper::get(ChunkId id) {
  const std::lock_guard lock(mutex_);
  if (const auto found = waiting_.find(id.value); found != waiting_.end()) return found->second;
  const auto recent = std::find_if(recent_.begin(), recent_.end(),
                                   [id](const auto& entry) { return entry.first == id.value; });
  if (recent != recent_.end()) {
    recent_.splice(recent_.begin(), recent_, recent);
    return recent_.front().second;
  }
  const auto found = packed_.find(id.value);
  if (found == packed_.end()) {
    return fail(ErrorKind::kBadTrace, fmt::format("chunk {} of pages is not there", id.value));
  }
  const Packed& packed = found->second;
  auto chunk = std::make_shared<Bytes>(packed.raw_bytes);
  const bool intact = XXH3_64bits(packed.frame.data(), packed.frame.size()) == packed.xxh3 &&
                      ZSTD_decompress(chunk->data(), chunk->size(), packed.frame.data(),
                                      packed.frame.size()) == chunk->size();
  if (!intact)
    return fail(ErrorKind::kBadTrace, fmt::format("chunk {} of pages is damaged", id.value));
  remember(id, chunk);
  return std::shared_ptr<const Bytes>(std::move(chunk));
}

void MemoryChunkKeeper::drop(ChunkId id) {
  const std::lock_guard lock(mutex_);
  waiting_.erase(id.value);
  recent_.remove_if([id](const auto& entry) { return entry.first == id.value; });
  const auto found = packed_.find(id.value);
  if (found == packed_.end()) return;
  stored_bytes_ -= found->second.frame.size();
  packed_.erase(found);
}

uint64_t MemoryChunkKeeper::stored_bytes() const {
  const std::lock_guard lock(mutex_);
  return stored_bytes_;
}

void MemoryChunkKeeper::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return waiting_.empty(); });
}

void MemoryChunkKeeper::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    if (ending_) return;
    const auto [id, chunk] = *waiting_.begin();
    lock.unlock();
    Packed packed{Bytes(ZSTD_compressBound(chunk->size())), chunk->size(), 0};
    const size_t size = ZSTD_compress(packed.frame.data(), packed.frame.size(), chunk->data(),
                                      chunk->size(), kLevel);
    RCHK_CHECK(!ZSTD_isError(size), "{}", ZSTD_getErrorName(size));
    packed.frame.resize(size);
    packed.frame.shrink_to_fit();
    packed.xxh3 = XXH3_64bits(packed.frame.data(), packed.frame.size());
    lock.lock();
    // It may have been dropped meanwhile.
    if (waiting_.erase(id) != 0) {
      stored_bytes_ += packed.frame.size();
      packed_.emplace(id, std::move(packed));
    }
    changed_.notify_all();
  }
}

}  // namespace rchk::snapshot
