#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace rchk::snapshot {

// Numbers the chunks of a page store from 0.
struct ChunkId {
  uint32_t value = 0;
  auto operator<=>(const ChunkId&) const = default;
};

// Keeps the chunks of a page store: in memory, in a recording, or in a file.
class ChunkKeeper {
 public:
  virtual ~ChunkKeeper() = default;
  virtual void put(ChunkId id, Bytes chunk) = 0;
  // The chunk as it was put. kBadTrace where it is damaged or was never put.
  virtual Result<std::shared_ptr<const Bytes>> get(ChunkId id) = 0;
  virtual void drop(ChunkId id) = 0;
  // What all of them take where they are kept. May lag behind put().
  virtual uint64_t stored_bytes() const = 0;
};

// Keeps chunks in memory, each as one zstd frame with a checksum, compressed by a thread of its
// own. Chunks that were looked at lately are kept unpacked. Safe to be called from several threads.
class MemoryChunkKeeper final : public ChunkKeeper {
 public:
  MemoryChunkKeeper();
  ~MemoryChunkKeeper() override;
  MemoryChunkKeeper(const MemoryChunkKeeper&) = delete;
  MemoryChunkKeeper& operator=(const MemoryChunkKeeper&) = delete;

  // Waits while too many chunks are not compressed yet.
  void put(ChunkId id, Bytes chunk) override;
  Result<std::shared_ptr<const Bytes>> get(ChunkId id) override;
  void drop(ChunkId id) override;
  uint64_t stored_bytes() const override;
  // Returns when all that was put is compressed.
  void wait();

 private:
  struct Packed {
    Bytes frame;
    uint64_t raw_bytes = 0;
    uint64_t xxh3 = 0;  // of the frame
  };
  void work();
  void remember(ChunkId id, std::shared_ptr<const Bytes> chunk);  // REQUIRES: the mutex is held

  mutable std::mutex mutex_;  // of all that follows
  std::condition_variable changed_;
  std::map<uint32_t, std::shared_ptr<const Bytes>> waiting_;  // to be compressed, lowest id first
  std::unordered_map<uint32_t, Packed> packed_;
  uint64_t stored_bytes_ = 0;
  // The chunks of the last calls of get(), the latest first.
  std::list<std::pair<uint32_t, std::shared_ptr<const Bytes>>> recent_;
  bool ending_ = false;
  std::thread worker_;
};

}  // namespace rchk::snapshot
