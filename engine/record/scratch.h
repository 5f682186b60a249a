#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/registers.h"
#include "base/types.h"
#include "engine/syscalls/buffers.h"
#include "engine/trace/event.h"
#include "snapshot/range_set.h"

// Memory of the recorder's in a guest, where calls that wait store instead of in the guest's own
// buffers (docs/notes/calls-under-way.md).
//
//   guest    ...|  buffer  |............| length |...
//                   ^ at the call's end     ^
//   region   |......|  buffer  |............| length |......|
//            whole pages; each piece as far from the begin of a page as the guest's own
namespace rchk::record {

// A buffer of a call and what takes its place.
struct ScratchPiece {
  AddressRange own;
  GuestAddress scratch;
  syscalls::BufferUse use = syscalls::BufferUse::kChanged;
  Bytes given;  // what the call began with, where the kernel looks at it
};

// What one call has of a region.
struct ScratchUse {
  std::shared_ptr<const AddressRange> region;  // in use as long as somebody holds it
  syscalls::CallBuffers buffers;
  std::vector<ScratchPiece> pieces;  // as `buffers`
  // What has been brought back to the guest's buffers.
  std::vector<trace::MemoryWrite> stored;

  // Null unless that is all of `range`.
  const trace::MemoryWrite* stored_at(AddressRange range) const;
  // What takes the place of the buffer that begins at `own`, or null.
  const ScratchPiece* piece_of(GuestAddress own) const;
};

// The most that laid_out() may need.
uint64_t room_for(const syscalls::CallBuffers& buffers);
// REQUIRES: the region is as large as room_for().
ScratchUse laid_out(syscalls::CallBuffers buffers, std::shared_ptr<const AddressRange> region);
// Makes the words of `piece`, an index, in its `given` that point to other pieces point to scratch.
void point_words(ScratchUse& use, size_t piece);
// The arguments of a call that are addresses of buffers: those of scratch, or as in `own`.
void point_arguments(const ScratchUse& use, Registers& registers);
void restore_arguments(const ScratchUse& use, const Registers& own, Registers& registers);
// What of the bytes `now` differs from what was `given`, as writes to memory from `own` on.
std::vector<trace::MemoryWrite> changed_runs(GuestAddress own, std::span<const uint8_t> given,
                                             std::span<const uint8_t> now);

// The regions in the memory of one or more tasks. A value; making and unmapping them is the
// recorder's.
class ScratchPool {
 public:
  // The smallest that is large enough and not in use; null if there is none.
  std::shared_ptr<const AddressRange> take(uint64_t bytes) const;
  void add(AddressRange region);
  void remove(AddressRange region);
  // Not in use.
  std::optional<AddressRange> largest_free() const;
  snapshot::RangeSet all() const;
  // That touch `range`.
  std::vector<AddressRange> free_in(AddressRange range) const;
  bool uses_any_in(AddressRange range) const;

  // There will be no more.
  bool given_up = false;

 private:
  std::vector<std::shared_ptr<const AddressRange>> regions_;
};

}  // namespace rchk::record
