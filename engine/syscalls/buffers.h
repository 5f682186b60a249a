#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/types.h"
#include "engine/syscalls/memory_reader.h"
#include "engine/syscalls/syscall.h"

// Where a call that waits stores what it waits for, and where it is told of these places: what a
// recorder needs to have it store elsewhere (docs/notes/calls-under-way.md).
namespace rchk::syscalls {

// What the kernel does with the bytes of a buffer.
enum class BufferUse : uint8_t {
  kRead,     // only looks at them
  kCounted,  // stores as many as the result counts, and looks at none
  kChanged,  // may store to some, and may look at them
  kTimeOut,  // only looks at them; a call that is made again is to wait for less
};

struct CallBuffer {
  AddressRange range;
  BufferUse use = BufferUse::kChanged;
  bool operator==(const CallBuffer&) const = default;
};

// Where a call has the address of a buffer.
struct BufferPointer {
  size_t buffer = 0;
  // The call's argument that it is; or else the word in another buffer.
  std::optional<size_t> argument;
  size_t holder = 0;
  uint64_t offset_bytes = 0;
  bool operator==(const BufferPointer&) const = default;
};

// None of them is empty, and no two overlap.
struct CallBuffers {
  std::vector<CallBuffer> buffers;
  std::vector<BufferPointer> pointers;
  // A result of n says that this many bytes are in the kCounted ones, which are filled in order.
  uint64_t bytes_before = 0, bytes_each = 1;
};

// All memory that the call may store to before it returns. Nothing for calls that store nothing,
// for those that do not wait, where the kernel is going to refuse what it is given, where buffers
// overlap, and for calls that are not known here.
std::optional<CallBuffers> buffers_of(const Call& call, const MemoryReader& memory);

// The parts of the kCounted buffers that a call with this result has filled.
std::vector<AddressRange> counted_parts(const CallBuffers& buffers, int64_t result);

}  // namespace rchk::syscalls
