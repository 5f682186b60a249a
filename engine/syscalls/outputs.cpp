#include "engine/syscalls/outputs.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <fmt/format.h>

#include "engine/syscalls/walk.h"

namespace rchk::syscalls {
namespace {

constexpr uint64_t kMaxTransferBytes = 0x7ffff000;  // MAX_RW_COUNT (include/linux/fs.h)
constexpr uint64_t kMaxIovecs = 1024;               // UIO_MAXIOV (include/uapi/linux/uio.h)
constexpr uint64_t kTextLimit = 4096;
// Where user addresses end with five-level page tables (Documentation/arch/x86/x86_64/mm.rst).
constexpr uint64_t kUserEnd = uint64_t{1} << 56;

struct Iovec {
  uint64_t base;
  uint64_t bytes;
};

// What a result counts; an error counts nothing.
uint64_t count_of(int64_t result) { return is_error(result) ? 0 : static_cast<uint64_t>(result); }

void with_length_written(Walk& walk, GuestAddress buffer, GuestAddress length) {
  const auto capacity = walk.before<uint32_t>(length);
  if (!capacity || !walk.may_have_stored()) return;
  // Afterwards the length says how much there was, which may be more than fitted.
  uint64_t bytes = *capacity;
  if (walk.succeeded()) {
    if (const auto now = walk.after<uint32_t>(length)) bytes = std::min<uint64_t>(bytes, *now);
  }
  walk.wrote(buffer, bytes);
}

void text_written(Walk& walk, GuestAddress text) {
  if (!walk.may_have_stored() || walk.before_call()) return;
  uint64_t length = 0;
  while (length < kTextLimit) {
    const auto letter = walk.after<uint8_t>(text + length);
    if (!letter) break;
    ++length;
    if (*letter == 0) break;
  }
  walk.wrote(text, length);
}

// The value of an argument as the kernel takes it.
uint64_t value_of(const Walk& walk, const Syscall& row, size_t index) {
  const ArgumentKind kind = row.arguments[index].kind;
  const bool narrow = kind == ArgumentKind::kInteger || kind == ArgumentKind::kCount;
  return narrow ? static_cast<uint32_t>(walk.argument(index)) : walk.argument(index);
}

void argument_written(Walk& walk, const Syscall& row, size_t index) {
  const Argument& argument = row.arguments[index];
  const GuestAddress pointer = walk.pointer(index);
  const uint64_t other = value_of(walk, row, argument.other);
  const uint64_t capacity = std::min(other, kMaxTransferBytes) * argument.bytes;
  switch (argument.kind) {
    case ArgumentKind::kOutput:
      if (walk.may_have_stored()) walk.wrote(pointer, argument.bytes);
      return;
    case ArgumentKind::kOutputAlways:
      walk.wrote(pointer, argument.bytes);
      return;
    case ArgumentKind::kFilled:
      walk.filled(pointer, std::min(count_of(walk.result()), capacity) * argument.bytes, capacity);
      return;
    case ArgumentKind::kFilledVector:
      walk.filled_vector(pointer, other, count_of(walk.result()));
      return;
    case ArgumentKind::kSized:
      if (walk.may_have_stored()) walk.wrote(pointer, capacity);
      return;
    case ArgumentKind::kWithLength:
      with_length_written(walk, pointer, walk.pointer(argument.other));
      return;
    case ArgumentKind::kOutputText:
      text_written(walk, pointer);
      return;
    case ArgumentKind::kAbsent:
    case ArgumentKind::kInteger:
    case ArgumentKind::kHex:
    case ArgumentKind::kDescriptor:
    case ArgumentKind::kMode:
    case ArgumentKind::kSize:
    case ArgumentKind::kCount:
    case ArgumentKind::kPid:
    case ArgumentKind::kSignal:
    case ArgumentKind::kPath:
    case ArgumentKind::kText:
    case ArgumentKind::kInput:
    case ArgumentKind::kAddress:
    case ArgumentKind::kData:
    case ArgumentKind::kDataVector:
    case ArgumentKind::kByCode:
      return;
  }
}

void walk_row(Walk& walk, const Syscall& row) {
  for (size_t i = 0; i < kMaxArguments; ++i) argument_written(walk, row, i);
  if (row.code != nullptr) row.code(walk);
}

bool needs_entry(const Syscall& row) {
  return row.code != nullptr ||
         std::any_of(row.arguments.begin(), row.arguments.end(), [](const Argument& argument) {
           return argument.kind == ArgumentKind::kWithLength ||
                  argument.kind == ArgumentKind::kFilledVector;
         });
}

void sort_and_merge(std::vector<AddressRange>& ranges) {
  std::sort(ranges.begin(), ranges.end());
  size_t kept = 0;
  for (size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].begin <= ranges[kept].end) {
      ranges[kept].end = std::max(ranges[kept].end, ranges[i].end);
    } else {
      ranges[++kept] = ranges[i];
    }
  }
  if (!ranges.empty()) ranges.resize(kept + 1);
}

}  // namespace

Walk::Walk(const Call& call, const MemoryReader& memory, std::vector<SavedMemory>& saved)
    : call_(call), memory_(memory), saving_(&saved) {}

Walk::Walk(const EntryState& entry, int64_t result, const MemoryReader& memory, Outputs& found)
    : call_(entry.call), memory_(memory), result_(result), saved_(&entry.saved), found_(&found) {}

const SavedMemory& Walk::before_bytes(GuestAddress address, size_t bytes) {
  if (saved_ != nullptr) {
    // Mostly asked for in the same order as before the call.
    for (size_t tried = 0; tried < saved_->size(); ++tried) {
      const SavedMemory& candidate = (*saved_)[(next_saved_ + tried) % saved_->size()];
      if (candidate.address != address || candidate.asked_bytes != bytes) continue;
      next_saved_ = (next_saved_ + tried + 1) % saved_->size();
      return candidate;
    }
  }
  SavedMemory& memory = saving_ != nullptr ? saving_->emplace_back() : fallback_;
  memory.address = address;
  memory.asked_bytes = static_cast<uint32_t>(bytes);
  memory.bytes.resize(address.value == 0 ? 0 : bytes);
  memory.bytes.resize(memory_.read(address, memory.bytes));
  return memory;
}

void Walk::wrote(GuestAddress address, uint64_t bytes) {
  if (found_ == nullptr || address.value == 0 || bytes == 0) return;
  if (address.value >= kUserEnd) return;
  found_->ranges.push_back(range_of(address, std::min(bytes, kUserEnd - address.value)));
}

// Two cases in which a buffer holds more than the result says:
// - A fault in the middle. The kernel stores up to the fault and then counts whole pieces, or
//   says EFAULT (lib/iov_iter.c: copy_to_iter callers). A buffer can only fault when not all of
//   it is mapped, which its last byte tells for the usual case, a buffer that reaches past
//   the end of a mapping.
// - Direct I/O stores whole blocks, also the one in which the file ends, and zeroes for holes
//   behind it, and then cuts the count to the file's size (fs/iomap/direct-io.c,
//   iomap_dio_hole_iter). Memory is aligned to 4 bytes for it, lengths to sectors.
void Walk::filled(GuestAddress buffer, uint64_t bytes, uint64_t capacity) {
  constexpr uint64_t kDirectMemoryAlignment = 4;
  constexpr uint64_t kSectorBytes = 512;
  if (found_ == nullptr || buffer.value == 0 || !may_have_stored()) return;
  bytes = std::min(bytes, capacity);
  if (bytes < capacity) {
    if (result_ == -EFAULT || !after<uint8_t>(buffer + (capacity - 1))) {
      bytes = capacity;
    } else if (buffer.value % kDirectMemoryAlignment == 0 && capacity % kSectorBytes == 0) {
      found_->ranges_if_direct.push_back(range_of(buffer + bytes, capacity - bytes));
    }
  }
  wrote(buffer, bytes);
}

uint64_t Walk::filled_vector(GuestAddress iovecs, uint64_t count, uint64_t bytes) {
  uint64_t capacity = 0;
  for (uint64_t i = 0; i < std::min(count, kMaxIovecs); ++i) {
    const auto iovec = before<Iovec>(iovecs + i * sizeof(Iovec));
    if (!iovec) break;
    const uint64_t piece = std::min(iovec->bytes, kMaxTransferBytes);
    filled({iovec->base}, std::min(bytes, piece), piece);
    bytes -= std::min(bytes, piece);
    capacity += piece;
  }
  return capacity;
}

void Walk::doubt(std::string what) {
  if (found_ == nullptr) return;
  found_->complete = false;
  found_->doubt = std::move(what);
}

std::optional<uint64_t> open_flags(const Call& call, const MemoryReader& memory) {
  uint64_t flags = 0;
  switch (call.number) {
    case nr::open:
      return call.arguments[1];
    case nr::openat:
    case nr::open_by_handle_at:
      return call.arguments[2];
    case nr::openat2:  // struct open_how: flags first
      memory.read({call.arguments[2]}, {reinterpret_cast<uint8_t*>(&flags), sizeof(flags)});
      return flags;
    case nr::creat:
      return O_CREAT | O_WRONLY | O_TRUNC;
    default:
      return std::nullopt;
  }
}

bool may_open_direct(const EntryState& entry, const MemoryReader& memory) {
  const auto& arguments = entry.call.arguments;
  const bool sets = entry.call.number == nr::fcntl && static_cast<int>(arguments[1]) == F_SETFL;
  const uint64_t flags = sets ? arguments[2] : open_flags(entry.call, memory).value_or(0);
  return (flags & O_DIRECT) != 0;
}

EntryState at_entry(const Call& call, const MemoryReader& memory) {
  EntryState entry{call, {}};
  const Syscall* row = find(call.number);
  if (row == nullptr || !needs_entry(*row)) return entry;
  Walk walk(entry.call, memory, entry.saved);
  walk_row(walk, *row);
  return entry;
}

Outputs outputs(const EntryState& entry, int64_t result, const MemoryReader& memory) {
  Outputs found;
  const Syscall* row = find(entry.call.number);
  if (row == nullptr) {
    // A number that the kernel does not know either wrote nothing.
    if (result != -ENOSYS) {
      found.complete = false;
      found.doubt = fmt::format("system call {} is not in the table", entry.call.number);
    }
    return found;
  }
  if (row->call_class == Class::kRefused) return found;
  Walk walk(entry, result, memory, found);
  walk_row(walk, *row);
  sort_and_merge(found.ranges);
  return found;
}

}  // namespace rchk::syscalls
