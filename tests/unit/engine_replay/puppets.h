#pragma once

#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "engine/replay/puppet.h"

namespace rchk::replay::test {

// Where tests map memory in puppets: far from everything that is there.
inline constexpr GuestAddress kPlace{0x4000'0000'0000};

inline GuestAddress page(uint64_t index) { return kPlace + index * kPageSize; }
inline AddressRange pages(uint64_t first, uint64_t count) {
  return range_of(page(first), count * kPageSize);
}

inline snapshot::Mapping anonymous(AddressRange range, int protection = PROT_READ | PROT_WRITE) {
  snapshot::Mapping mapping;
  mapping.range = range;
  mapping.protection = static_cast<uint8_t>(protection);
  return mapping;
}

inline snapshot::Mapping of_file(AddressRange range, int protection, uint32_t file, bool shared,
                                 uint64_t offset_bytes = 0) {
  snapshot::Mapping mapping = anonymous(range, protection);
  mapping.shared = shared;
  mapping.backing = snapshot::FileBacking{{file}, offset_bytes};
  return mapping;
}

template <typename T>
T value_of(Result<T> result) {
  if (!result) {
    ADD_FAILURE() << result.error().message();
    std::abort();
  }
  return std::move(*result);
}

inline std::unique_ptr<Puppet> new_puppet() { return value_of(Puppet::create(std::nullopt)); }

#define EXPECT_DONE(expression)                                \
  do {                                                         \
    const auto done = (expression);                            \
    EXPECT_TRUE(done) << (done ? "" : done.error().message()); \
  } while (false)

inline void put(Puppet& puppet, GuestAddress address, std::string_view text) {
  const std::span bytes{reinterpret_cast<const uint8_t*>(text.data()), text.size()};
  EXPECT_DONE(puppet.write_memory(address, bytes));
}

// What can be read of `count` bytes.
inline std::string got(Puppet& puppet, GuestAddress address, size_t count) {
  std::string text(count, '?');
  text.resize(puppet.read_memory(address, {reinterpret_cast<uint8_t*>(text.data()), count}));
  return text;
}

// The process's own view of what is mapped at `address`, or null.
inline const snapshot::ProcMapsEntry* mapped_at(const std::vector<snapshot::ProcMapsEntry>& maps,
                                                GuestAddress address) {
  for (const snapshot::ProcMapsEntry& entry : maps) {
    if (entry.range.contains(address)) return &entry;
  }
  return nullptr;
}

// The contents of a file as the tests' puppets map them.
class FileContents {
 public:
  explicit FileContents(const Bytes& bytes) : memfd_(memfd_create("contents", MFD_CLOEXEC)) {
    EXPECT_EQ(static_cast<ssize_t>(bytes.size()),
              pwrite(memfd_.get(), bytes.data(), bytes.size(), 0));
    contents_ = {memfd_.get(), 0, bytes.size(), {1, 1}, bytes.size()};
  }
  const Puppet::Contents& all() const { return contents_; }

 private:
  FileDescriptor memfd_;
  Puppet::Contents contents_;
};

inline Bytes filled(size_t count, char with) { return Bytes(count, static_cast<uint8_t>(with)); }

}  // namespace rchk::replay::test
