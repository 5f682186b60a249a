#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <string_view>
#include <vector>

#include "engine/syscalls/memory_reader.h"

namespace rchk::syscalls::test {

// A guest's memory made of separate blocks.
class FakeMemory : public MemoryReader {
 public:
  size_t read(GuestAddress address, std::span<uint8_t> out) const override {
    auto next = blocks_.upper_bound(address.value);
    if (next == blocks_.begin()) return 0;
    const auto& [start, bytes] = *std::prev(next);
    const uint64_t offset = address.value - start;
    if (offset >= bytes.size()) return 0;
    const size_t count = std::min<size_t>(out.size(), bytes.size() - offset);
    std::memcpy(out.data(), &bytes[offset], count);
    return count;
  }

  // Makes [address, address + bytes) readable, zeroed.
  void map(uint64_t address, size_t bytes) { blocks_[address].resize(bytes); }

  // Stores into a block that is there, or into a new one.
  template <typename T>
  void put(uint64_t address, const T& value) {
    put_bytes(address, &value, sizeof(T));
  }
  void put_text(uint64_t address, std::string_view text) {
    put_bytes(address, text.data(), text.size());
  }

 private:
  void put_bytes(uint64_t address, const void* source, size_t count) {
    auto next = blocks_.upper_bound(address);
    if (next != blocks_.begin()) {
      auto& [start, bytes] = *std::prev(next);
      if (address - start + count <= bytes.size()) {
        std::memcpy(&bytes[address - start], source, count);
        return;
      }
    }
    auto& block = blocks_[address];
    block.resize(std::max(block.size(), count));
    std::memcpy(block.data(), source, count);
  }

  std::map<uint64_t, std::vector<uint8_t>> blocks_;
};

}  // namespace rchk::syscalls::test
