#pragma once

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <vector>

namespace rchk::translate {

// Memory for what lives until a flush: nothing is given back before release(). A program of
// compiler size has some hundred thousand blocks, and at 4 KiB each the page faults for what is
// known of them cost as much as translating; so all but the first chunk asks for huge pages.
class Pool final : public std::pmr::memory_resource {
 public:
  Pool() = default;
  ~Pool() override { release(); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  void release();

 private:
  struct Chunk {
    void* address;
    size_t size_bytes;
  };
  void* do_allocate(size_t bytes, size_t alignment) override;
  void do_deallocate(void*, size_t, size_t) override {}
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }
  void add_chunk(size_t bytes);

  std::vector<Chunk> chunks_;
  uintptr_t next_ = 0, end_ = 0;
};

}  // namespace rchk::translate
