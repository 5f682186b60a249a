// Calls that wait store to memory of the recorder's (docs/notes/calls-under-way.md).

#include <algorithm>
#include <bit>
#include <cerrno>

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "engine/record/limits.h"
#include "engine/record/recorder_impl.h"
#include "engine/syscalls/describe.h"
#include "engine/tracee/few_registers.h"

namespace rchk::record {

namespace {

using syscalls::BufferUse;
namespace nr = syscalls::nr;

constexpr uint64_t kSmallestRegionBytes = 64 << 10;
// What is not kept for the next call.
constexpr uint64_t kLargeRegionBytes = 4 << 20;
constexpr uint64_t kRedZoneBytes = 128;  // psABI 3.2.2

bool stores(const syscalls::CallBuffer& buffer) {
  return buffer.use == BufferUse::kCounted || buffer.use == BufferUse::kChanged;
}

bool is_readable(GuestAddress address, const tracee::Tracee& tracee) {
  uint8_t byte = 0;
  return tracee.read_memory(address, {&byte, 1}) == 1;
}

// Whether the kernel could store to all of `range`, for a task whose stack pointer is `stack`. Of a
// file's mapping what lies behind the end of the file is not there.
bool can_be_stored_to(AddressRange range, GuestAddress stack, const snapshot::AddressSpace& space,
                      const tracee::Tracee& tracee) {
  for (GuestAddress at = range.begin; at < range.end;) {
    const trace::Mapping* mapping = space.find(at);
    if (mapping == nullptr) {
      // The stack grows as it is used, and `space` is told of it later.
      const auto above = space.mappings().upper_bound(at);
      const bool grows = above != space.mappings().end() && above->second.grows_down &&
                         at + kRedZoneBytes >= stack;
      if (!grows) return false;
      mapping = &above->second;
    }
    const GuestAddress end = std::min(mapping->range.end, range.end);
    if (!mapping->writable() || (mapping->shared && mapping->backing)) return false;
    if (mapping->backing && !is_readable(end - 1, tracee)) return false;
    at = end;
  }
  return true;
}

// Memory that a call names, be it mapped or not, to change what is mapped there.
std::vector<AddressRange> ranges_named(const syscalls::Call& call) {
  const auto& arguments = call.arguments;
  if (arguments[0] == 0) return {};
  std::vector<AddressRange> ranges{range_of({arguments[0]}, arguments[1])};
  switch (call.number) {
    case nr::mmap:
    case nr::munmap:
    case nr::mprotect:
    case nr::pkey_mprotect:
    case nr::madvise:
    case nr::remap_file_pages:
      return ranges;
    case nr::mremap:
      if ((arguments[3] & MREMAP_FIXED) != 0) {
        ranges.push_back(range_of({arguments[4]}, arguments[2]));
      }
      return ranges;
    default:
      return {};
  }
}

// Whether what a file holds is asked of another program, or machine, that may take any time.
bool is_served_by_others(const std::string& path) {
  constexpr int64_t kCifs = 0xff534d42, kSmb2 = 0xfe534d42, kCeph = 0x00c36400;  // linux/magic.h
  struct statfs system;
  if (statfs(path.c_str(), &system) != 0) return true;
  switch (system.f_type) {
    case FUSE_SUPER_MAGIC:
    case NFS_SUPER_MAGIC:
    case SMB_SUPER_MAGIC:
    case V9FS_MAGIC:
    case AFS_SUPER_MAGIC:
    case CODA_SUPER_MAGIC:
    case kCifs:
    case kSmb2:
    case kCeph:
      return true;
    default:
      return false;
  }
}

// Where a call reads a regular file, the disk is all that it may wait for: to copy what is large
// once more would cost a third of what recording it does.
bool reads_much_of_file(const syscalls::Call& call, uint64_t bytes, pid_t pid) {
  constexpr uint64_t kMuchBytes = 2 * kPageSize;
  if (bytes <= kMuchBytes) return false;
  switch (call.number) {
    case nr::read:
    case nr::pread64:
    case nr::readv:
    case nr::preadv:
    case nr::preadv2:
      break;
    default:
      return false;
  }
  const std::string path = fmt::format("/proc/{}/fd/{}", pid, call.descriptor(0));
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && !is_served_by_others(path);
}

}  // namespace

// Whether another task may look at what `buffers` holds while task_ waits.
bool Recorder::Impl::may_be_looked_at(const syscalls::CallBuffers& buffers) const {
  if (tasks_.size() == 1) return false;
  if (memory_is_used_by_others(*task_)) return true;
  const auto& all = buffers.buffers;
  return std::any_of(all.begin(), all.end(), [this](const syscalls::CallBuffer& buffer) {
    const trace::Mapping* const mapping = task_->space->memory.find(buffer.range.begin);
    return stores(buffer) && mapping != nullptr && mapping->shared;
  });
}

bool Recorder::Impl::can_store_to(const syscalls::CallBuffers& buffers,
                                  const PendingCall& call) const {
  const auto& all = buffers.buffers;
  return std::all_of(all.begin(), all.end(), [&](const syscalls::CallBuffer& buffer) {
    return !stores(buffer) ||
           can_be_stored_to(buffer.range, {call.before.rsp}, task_->space->memory, task_->tracee);
  });
}

// At the entry of task_'s call, which is about to be made. Where there is no room it is taken back,
// and will be made again behind that.
Result<void> Recorder::Impl::redirect_stores(const Registers& registers) {
  PendingCall& call = *task_->call;
  if (tasks_.size() == 1 || call.answer || call.pages_before) return {};
  ScratchPool& pool = task_->space->scratch;
  if (pool.given_up) return {};
  auto buffers = syscalls::buffers_of(call.entry.call, GuestReader(task_->tracee));
  if (!buffers || !may_be_looked_at(*buffers) || !can_store_to(*buffers, call)) return {};
  const uint64_t room = room_for(*buffers);
  call.holds_processor = !is_out_of_reach(call.entry.call.descriptor(0)) &&
                         reads_much_of_file(call.entry.call, room, task_->tid);
  if (call.holds_processor) return {};
  auto region = pool.take(room);
  if (!region) {
    RCHK_TRY(take_call_back());
    return make_scratch(room);
  }
  ScratchUse use = laid_out(std::move(*buffers), std::move(region));
  for (size_t i = 0; i < use.pieces.size(); ++i) {
    ScratchPiece& piece = use.pieces[i];
    if (piece.use == BufferUse::kCounted) continue;
    piece.given.resize(piece.own.size());
    if (task_->tracee.read_memory(piece.own.begin, piece.given) != piece.given.size()) return {};
    point_words(use, i);
    RCHK_TRY(task_->tracee.write_memory(piece.scratch, piece.given));
  }
  call.scratch = std::move(use);
  return point_to_scratch(registers);
}

// At the entry of task_'s call.
Result<void> Recorder::Impl::point_to_scratch(const Registers& registers) {
  if (!task_->call->scratch) return {};
  Registers pointed = registers;
  point_arguments(*task_->call->scratch, pointed);
  return tracee::change_registers(task_->tracee, registers, pointed);
}

// REQUIRES: task_ stands in no call.
Result<void> Recorder::Impl::make_scratch(uint64_t bytes) {
  Space& space = *task_->space;
  const auto give_up = [&](std::string_view why) -> Result<void> {
    say_once(
        fmt::format("Process {} gets no memory for calls that wait ({}): a replay may differ "
                    "where a thread looks at what another one's call is about to store.",
                    task_->process->pid, why));
    space.scratch.given_up = true;
    return {};
  };
  if (has_limited_memory(task_->process->pid)) return give_up("its memory is limited");
  if (const auto smaller = space.scratch.largest_free()) RCHK_TRY(unmap_scratch(*smaller));
  const GuestAddress gadget = space.confinement.gadget;
  const uint64_t size = std::max(std::bit_ceil(bytes), kSmallestRegionBytes);
  const auto place = space.place_for(size);
  if (!place) return give_up("it has mapped all there is");
  constexpr uint64_t kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
  RCHK_TRY_ASSIGN(
      const int64_t made,
      task_->tracee.remote_syscall(gadget, SYS_mmap,
                                   {place->value, size, PROT_READ | PROT_WRITE, kFlags, ~0ull, 0}));
  if (syscalls::is_error(made)) return give_up(fmt::format("mmap: error {}", -made));
  const AddressRange region = range_of(*place, size);
  // A fork has none of it: the call is not its own.
  RCHK_TRY_ASSIGN(
      const int64_t advised,
      task_->tracee.remote_syscall(gadget, SYS_madvise, {region.begin.value, size, MADV_DONTFORK}));
  space.scratch.add(region);
  if (syscalls::is_error(advised)) {
    RCHK_TRY(unmap_scratch(region));
    return give_up(fmt::format("madvise: error {}", -advised));
  }
  return {};
}

Result<void> Recorder::Impl::unmap_scratch(AddressRange region) {
  task_->space->scratch.remove(region);
  const GuestAddress gadget = task_->space->confinement.gadget;
  RCHK_TRY(task_->tracee.remote_syscall(gadget, SYS_munmap, {region.begin.value, region.size()}));
  return {};
}

// The program maps something where it knows of nothing. True if `call`, at whose entry task_
// stands, has been taken back and will be made again, without scratch in its way.
Result<bool> Recorder::Impl::clear_the_way_for(PendingCall& call, const syscalls::Call& made) {
  std::vector<AddressRange> in_the_way;
  for (const AddressRange& range : ranges_named(made)) {
    for (const AddressRange& region : task_->space->scratch.free_in(range)) {
      if (std::find(in_the_way.begin(), in_the_way.end(), region) == in_the_way.end()) {
        in_the_way.push_back(region);
      }
    }
  }
  if (in_the_way.empty()) return false;
  task_->call = std::move(call);
  RCHK_TRY(take_call_back());
  for (const AddressRange& region : in_the_way) RCHK_TRY(unmap_scratch(region));
  return true;
}

// Where the kernel is storing for others, nothing can be changed.
bool Recorder::Impl::is_in_the_way_of(const syscalls::Call& made) const {
  // A mere wish for a place: the kernel finds another one, or says that it is taken.
  const bool is_fixed = (made.arguments[3] & MAP_FIXED) != 0;
  if (made.number == nr::mmap && !is_fixed) return false;
  const std::vector<AddressRange> named = ranges_named(made);
  return std::any_of(named.begin(), named.end(), [this](const AddressRange& range) {
    return task_->space->scratch.uses_any_in(range);
  });
}

// What a call of `task` that has come back with the registers `after` has stored goes to the
// guest's own buffers, and these to the arguments. Where a buffer is not there any more, the call
// ends as one that finds that out itself.
Result<void> Recorder::Impl::bring_back_stores(Task& task, PendingCall& call, Registers& after) {
  ScratchUse& use = *call.scratch;
  const Registers came_back_with = after;
  std::vector<trace::MemoryWrite>& writes = use.stored;
  writes.clear();
  for (const ScratchPiece& piece : use.pieces) {
    if (piece.use != BufferUse::kChanged) continue;
    Bytes now(piece.own.size());
    now.resize(task.tracee.read_memory(piece.scratch, now));
    auto runs = changed_runs(piece.own.begin, piece.given, now);
    std::move(runs.begin(), runs.end(), std::back_inserter(writes));
  }
  for (const AddressRange& part :
       syscalls::counted_parts(use.buffers, static_cast<int64_t>(after.rax))) {
    for (const ScratchPiece& piece : use.pieces) {
      if (piece.own.begin != part.begin) continue;
      trace::MemoryWrite write{part.begin, Bytes(part.size())};
      write.bytes.resize(task.tracee.read_memory(piece.scratch, write.bytes));
      writes.push_back(std::move(write));
    }
  }
  std::erase_if(writes, [&](const trace::MemoryWrite& write) {
    const AddressRange range = range_of(write.address, write.bytes.size());
    const bool there = can_be_stored_to(range, {call.before.rsp}, task.space->memory, task.tracee);
    if (there && task.tracee.write_memory(write.address, write.bytes)) return false;
    const bool failed = syscalls::is_error(static_cast<int64_t>(after.rax));
    if (!failed) after.rax = static_cast<uint64_t>(-EFAULT);
    return true;
  });
  restore_arguments(use, call.before, after);
  return tracee::change_registers(task.tracee, came_back_with, after);
}

// Behind task_'s call. A region that is large is not kept.
Result<void> Recorder::Impl::end_redirection(PendingCall& call) {
  if (!call.scratch) return {};
  const AddressRange region = *call.scratch->region;
  call.scratch.reset();
  if (region.size() <= kLargeRegionBytes) return {};
  return unmap_scratch(region);
}

}  // namespace rchk::record
