#include "engine/record/state_pages.h"

#include <algorithm>
#include <cstring>

#include "engine/trace/chunk.h"
#include "snapshot/page_version.h"

namespace rchk::record {

namespace {

using snapshot::RangeSet;

constexpr uint64_t kMostInFull = 256;
constexpr uint64_t kPieceBytes = 1 << 20;
// A replay takes the sum of one of these at each candidate, if it was the one that differed.
constexpr uint64_t kSumBytes = 16 * kPageSize;
// Of the stack, around its top and around a frame's base.
constexpr uint64_t kBelowTop = 256, kAboveTop = 1024;

// Calls `take` with what can be read, whole pages in pieces of at most `piece` bytes.
template <typename Take>
void read_pieces(const RangeSet& pages, uint64_t piece, const snapshot::ReadMemory& read,
                 Take take) {
  for (const AddressRange& range : pages) {
    for (GuestAddress at = range.begin; at < range.end;) {
      Bytes bytes(std::min<uint64_t>(piece, range.end - at));
      bytes.resize(read(at, bytes) / kPageSize * kPageSize);
      const GuestAddress next = at + std::max<uint64_t>(bytes.size(), kPageSize);
      if (!bytes.empty()) take(at, std::move(bytes));
      at = next;
    }
  }
}

void add_around(std::vector<AddressRange>& ranges, uint64_t address) {
  const GuestAddress page{address & ~(kPageSize - 1)};
  if (page.value < kPageSize || page.value > UINT64_MAX - 2 * kPageSize) return;
  ranges.push_back({page - kPageSize, page + 2 * kPageSize});
}

// Around what the words there say, taken as addresses.
void add_named_by(std::vector<AddressRange>& ranges, uint64_t place,
                  const snapshot::ReadMemory& read) {
  const uint64_t begin = (place - std::min(place, kBelowTop)) & ~uint64_t{7};
  uint64_t words[(kBelowTop + kAboveTop) / sizeof(uint64_t)] = {};
  const size_t got = read({begin}, {reinterpret_cast<uint8_t*>(words), sizeof(words)});
  for (size_t i = 0; i < got / sizeof(uint64_t); ++i) add_around(ranges, words[i]);
}

// What registers and the top of the stack name, and the variables of programs and libraries.
RangeSet likely_stored_to(const RangeSet& pages, const Registers& registers,
                          const snapshot::AddressSpace& memory, const snapshot::ReadMemory& read) {
  std::vector<AddressRange> named;
  for (unsigned number = 0; number < 16; ++number) {
    add_around(named, registers.*general_register(number));
  }
  add_around(named, registers.fs_base);
  add_named_by(named, registers.rsp, read);
  add_named_by(named, registers.rbp, read);
  RangeSet chosen = snapshot::intersection(pages, snapshot::normalized(std::move(named)));
  std::vector<AddressRange> variables;
  GuestAddress behind_file;
  for (const auto& [begin, mapping] : memory.mappings()) {
    const bool of_file = mapping.backing.has_value();
    if (mapping.writable() && (of_file || begin == behind_file)) variables.push_back(mapping.range);
    behind_file = of_file ? mapping.range.end : GuestAddress();
  }
  uint64_t room = kMostInFull - std::min(kMostInFull, snapshot::total_pages(chosen));
  for (const AddressRange& range : snapshot::intersection(pages, snapshot::normalized(variables))) {
    const uint64_t taken = std::min(room, range.size() / kPageSize);
    if (taken != 0) chosen.push_back(range_of(range.begin, taken * kPageSize));
    room -= taken;
  }
  return snapshot::normalized(std::move(chosen));
}

}  // namespace

uint64_t StatePages::count() const {
  uint64_t bytes = 0;
  for (const trace::PageContents& run : contents) bytes += run.bytes.size();
  for (const trace::MemoryChecksum& sum : checksums) bytes += sum.range.size();
  return bytes / kPageSize;
}

StatePages read_state_pages(const RangeSet& pages, const Registers& registers,
                            const snapshot::AddressSpace& memory,
                            const snapshot::ReadMemory& read) {
  RangeSet in_full = pages;
  if (snapshot::total_pages(pages) > kMostInFull) {
    in_full = likely_stored_to(pages, registers, memory, read);
  }
  StatePages state;
  read_pieces(in_full, kPieceBytes, read, [&state](GuestAddress at, Bytes bytes) {
    state.contents.push_back({at, std::move(bytes)});
  });
  const RangeSet rest = snapshot::difference(pages, in_full);
  read_pieces(rest, kSumBytes, read, [&state](GuestAddress at, const Bytes& bytes) {
    state.checksums.push_back({range_of(at, bytes.size()), snapshot::checksum_of_page(bytes)});
  });
  return state;
}

}  // namespace rchk::record
