#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "base/types.h"
#include "engine/syscalls/memory_reader.h"
#include "engine/syscalls/outputs.h"
#include "engine/syscalls/syscall.h"

// What a call did to the table of descriptors, and what it wrote through one.
namespace rchk::syscalls {

// A new descriptor for something new, or that came from elsewhere (SCM_RIGHTS, pidfd_getfd).
struct DescriptorOpened {
  int32_t descriptor = -1;
  bool close_on_exec = false;
  bool operator==(const DescriptorOpened&) const = default;
};
// `descriptor` now is what `source` is; what it was before is closed.
struct DescriptorDuplicated {
  int32_t source = -1;
  int32_t descriptor = -1;
  bool close_on_exec = false;
  bool operator==(const DescriptorDuplicated&) const = default;
};
// All from `first` to `last`, both included.
struct DescriptorsClosed {
  uint32_t first = 0;
  uint32_t last = 0;
  bool operator==(const DescriptorsClosed&) const = default;
};
struct CloseOnExecChanged {
  uint32_t first = 0;
  uint32_t last = 0;
  bool close_on_exec = false;
  bool operator==(const CloseOnExecChanged&) const = default;
};

using DescriptorChange =
    std::variant<DescriptorOpened, DescriptorDuplicated, DescriptorsClosed, CloseOnExecChanged>;

// In order. execve closes what is marked close-on-exec; it is not named here. Nor is the pidfd of
// clone, which belongs to a later issue's recorder: it is opened with close-on-exec.
std::vector<DescriptorChange> descriptor_changes(const EntryState& entry, int64_t result,
                                                 const MemoryReader& memory);

// Data that a call sent out through a descriptor.
struct DataWritten {
  int32_t descriptor = -1;
  uint64_t bytes = 0;
  // The guest's memory that holds them, in order; empty when they came from `source`, another
  // descriptor (sendfile, splice, copy_file_range, tee), and never were in the guest's memory.
  std::vector<AddressRange> ranges;
  int32_t source = -1;
};

// Empty for a call that sends nothing or failed. Memory may be as before or after the call.
std::optional<DataWritten> data_written(const Call& call, int64_t result,
                                        const MemoryReader& memory);

// The descriptor of the file whose contents the call may have changed: data_written() calls,
// ftruncate, fallocate, the cloning ioctls, opening with O_TRUNC (and openat2, whose flags are in
// memory). Where the guest has that file mapped, its memory changed too, though no output names it.
std::optional<int32_t> changed_file(const Call& call, int64_t result);

// The path of the file that truncate changed.
std::optional<GuestAddress> changed_path(const Call& call, int64_t result);

// True for calls of the two kinds that change nothing but a file's size, if anything.
bool only_resizes(const Call& call);

// Whether a thread that makes the call without an error has a table of descriptors of its own from
// then on, and changes that one.
bool unshares_descriptors(const Call& call);

}  // namespace rchk::syscalls
