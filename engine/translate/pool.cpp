#include "engine/translate/pool.h"

#include <sys/mman.h>

#include "base/check.h"

namespace rchk::translate {

namespace {
constexpr size_t kFirstChunkBytes = 512 << 10;
constexpr size_t kHugePageBytes = 2 << 20;
}  // namespace

void* Pool::do_allocate(size_t bytes, size_t alignment) {
  uintptr_t begin = (next_ + alignment - 1) & ~(alignment - 1);
  if (begin + bytes > end_) {
    add_chunk(bytes);
    begin = next_;
  }
  next_ = begin + bytes;
  return reinterpret_cast<void*>(begin);
}

void Pool::add_chunk(size_t bytes) {
  const bool first = chunks_.empty() && bytes <= kFirstChunkBytes;
  const size_t unit = first ? kFirstChunkBytes : kHugePageBytes;
  const size_t size = (bytes + unit - 1) & ~(unit - 1);
  // Mapped with room to align it: what lies on either side is never touched.
  const size_t mapped = first ? size : size + kHugePageBytes;
  void* address = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  RCHK_CHECK(address != MAP_FAILED, "no memory for {} bytes of translations", size);
  chunks_.push_back({address, mapped});
  next_ = reinterpret_cast<uintptr_t>(address);
  if (!first) {
    next_ = (next_ + kHugePageBytes - 1) & ~(kHugePageBytes - 1);
    madvise(reinterpret_cast<void*>(next_), size, MADV_HUGEPAGE);  // an optimization only
  }
  end_ = next_ + size;
}

void Pool::release() {
  for (const Chunk& chunk : chunks_) munmap(chunk.address, chunk.size_bytes);
  chunks_.clear();
  next_ = end_ = 0;
}

}  // namespace rchk::translate
