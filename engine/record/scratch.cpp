#include "engine/record/scratch.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace rchk::record {

namespace {

uint64_t& argument_of(Registers& registers, size_t index) {
  uint64_t* const order[] = {&registers.rdi, &registers.rsi, &registers.rdx,
                             &registers.r10, &registers.r8,  &registers.r9};
  return *order[index];
}

// The first address from `from` on that is as far from the begin of its page as `like`.
GuestAddress next_like(GuestAddress from, GuestAddress like) {
  return from + ((like.value - from.value) & (kPageSize - 1));
}

bool is_free(const std::shared_ptr<const AddressRange>& region) { return region.use_count() == 1; }

}  // namespace

const trace::MemoryWrite* ScratchUse::stored_at(AddressRange range) const {
  for (const trace::MemoryWrite& write : stored) {
    if (range_of(write.address, write.bytes.size()) == range) return &write;
  }
  return nullptr;
}

const ScratchPiece* ScratchUse::piece_of(GuestAddress own) const {
  for (const ScratchPiece& piece : pieces) {
    if (piece.own.begin == own) return &piece;
  }
  return nullptr;
}

uint64_t room_for(const syscalls::CallBuffers& buffers) {
  GuestAddress at{0};
  for (const syscalls::CallBuffer& buffer : buffers.buffers) {
    at = next_like(at, buffer.range.begin) + buffer.range.size();
  }
  return at.page_ceiling().value;
}

ScratchUse laid_out(syscalls::CallBuffers buffers, std::shared_ptr<const AddressRange> region) {
  ScratchUse use{std::move(region), std::move(buffers), {}, {}};
  GuestAddress at = use.region->begin;
  for (const syscalls::CallBuffer& buffer : use.buffers.buffers) {
    const GuestAddress scratch = next_like(at, buffer.range.begin);
    use.pieces.push_back({buffer.range, scratch, buffer.use, {}});
    at = scratch + buffer.range.size();
  }
  RCHK_CHECK(at <= use.region->end, "a region of {} bytes is too small", use.region->size());
  return use;
}

void point_words(ScratchUse& use, size_t piece) {
  Bytes& given = use.pieces[piece].given;
  for (const syscalls::BufferPointer& pointer : use.buffers.pointers) {
    if (pointer.argument || pointer.holder != piece) continue;
    const uint64_t address = use.pieces[pointer.buffer].scratch.value;
    std::memcpy(given.data() + pointer.offset_bytes, &address, sizeof(address));
  }
}

void point_arguments(const ScratchUse& use, Registers& registers) {
  for (const syscalls::BufferPointer& pointer : use.buffers.pointers) {
    if (!pointer.argument) continue;
    argument_of(registers, *pointer.argument) = use.pieces[pointer.buffer].scratch.value;
  }
}

void restore_arguments(const ScratchUse& use, const Registers& own, Registers& registers) {
  Registers from = own;
  for (const syscalls::BufferPointer& pointer : use.buffers.pointers) {
    if (!pointer.argument) continue;
    argument_of(registers, *pointer.argument) = argument_of(from, *pointer.argument);
  }
}

std::vector<trace::MemoryWrite> changed_runs(GuestAddress own, std::span<const uint8_t> given,
                                             std::span<const uint8_t> now) {
  // Less than lies between two fields that the kernel stores to, such as the revents of a pollfd.
  constexpr size_t kMostBetween = 4;
  std::vector<trace::MemoryWrite> runs;
  const size_t size = std::min(given.size(), now.size());
  size_t end = 0;  // of the last run
  for (size_t at = 0; at < size; ++at) {
    if (given[at] == now[at]) continue;
    if (runs.empty() || at - end > kMostBetween) {
      runs.push_back({own + at, {}});
      end = at;
    }
    Bytes& bytes = runs.back().bytes;
    bytes.insert(bytes.end(), now.begin() + static_cast<ptrdiff_t>(end),
                 now.begin() + static_cast<ptrdiff_t>(at) + 1);
    end = at + 1;
  }
  return runs;
}

std::shared_ptr<const AddressRange> ScratchPool::take(uint64_t bytes) const {
  std::shared_ptr<const AddressRange> best;
  for (const auto& region : regions_) {
    if (region->size() < bytes) continue;
    const bool smaller = !best || region->size() < best->size();
    if (smaller && is_free(region)) best = region;
  }
  return best;
}

void ScratchPool::add(AddressRange region) {
  regions_.push_back(std::make_shared<const AddressRange>(region));
}

void ScratchPool::remove(AddressRange region) {
  std::erase_if(regions_, [region](const auto& known) { return *known == region; });
}

std::optional<AddressRange> ScratchPool::largest_free() const {
  std::optional<AddressRange> largest;
  for (const auto& region : regions_) {
    if (is_free(region) && (!largest || region->size() > largest->size())) largest = *region;
  }
  return largest;
}

snapshot::RangeSet ScratchPool::all() const {
  snapshot::RangeSet ranges;
  for (const auto& region : regions_) ranges.push_back(*region);
  return snapshot::normalized(std::move(ranges));
}

std::vector<AddressRange> ScratchPool::free_in(AddressRange range) const {
  std::vector<AddressRange> found;
  for (const auto& region : regions_) {
    if (is_free(region) && region->overlaps(range)) found.push_back(*region);
  }
  return found;
}

bool ScratchPool::uses_any_in(AddressRange range) const {
  return std::any_of(regions_.begin(), regions_.end(), [range](const auto& region) {
    return !is_free(region) && region->overlaps(range);
  });
}

}  // namespace rchk::record
