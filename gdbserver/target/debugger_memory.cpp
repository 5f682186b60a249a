#include "gdbserver/target/debugger_memory.h"

#include <algorithm>

namespace rchk::target {

namespace {

// Far from programs (0x55...), libraries and stacks (0x7f...), Go's heap (0xc000000000), and from
// what the sanitizers of gcc and clang use (compiler-rt, tsan_platform.h and msan.h).
constexpr GuestAddress kArena{0x680000000000};
constexpr uint64_t kMostBytes = 64 << 20;

bool is_debuggers(const snapshot::AddressSpace& space, const snapshot::Mapping& piece) {
  const snapshot::Mapping* const found = space.find(piece.range.begin);
  return found != nullptr && *found == piece;
}

}  // namespace

snapshot::Mapping DebuggerMemory::mapping_of(const Pieces::value_type& piece) {
  snapshot::Mapping mapping;
  mapping.range = range_of(piece.first, piece.second.contents.size());
  mapping.protection = piece.second.protection;
  mapping.name = "[debugger]";
  return mapping;
}

DebuggerMemory::Pieces::const_iterator DebuggerMemory::holding(GuestAddress address) const {
  auto piece = pieces_.upper_bound(address);
  if (piece == pieces_.begin()) return pieces_.end();
  --piece;
  return mapping_of(*piece).range.contains(address) ? piece : pieces_.end();
}

Result<GuestAddress> DebuggerMemory::allocate(uint64_t size_bytes, uint8_t protection,
                                              const snapshot::AddressSpace& space) {
  uint64_t taken = 0;
  for (const auto& [begin, piece] : pieces_) taken += piece.contents.size();
  if (size_bytes == 0 || size_bytes > kMostBytes - taken) {
    return fail(ErrorKind::kUnsupported, "too much memory for a debugger");
  }
  AddressRange range = range_of(kArena, GuestAddress{size_bytes}.page_ceiling().value);
  const auto step_behind = [&range](AddressRange obstacle) {
    if (range.overlaps(obstacle)) range = range_of(obstacle.end, range.size());
  };
  // Both in order of address, so that what was passed is not met again; but one may step into
  // what the other has been asked of.
  for (AddressRange before; before != range;) {
    before = range;
    for (const auto& piece : pieces_) step_behind(mapping_of(piece).range);
    for (const auto& [begin, mapping] : space.mappings()) step_behind(mapping.range);
  }
  pieces_.emplace(range.begin, Piece{protection, Bytes(range.size())});
  return range.begin;
}

Result<AddressRange> DebuggerMemory::deallocate(GuestAddress address) {
  const auto piece = pieces_.find(address);
  if (piece == pieces_.end()) return fail(ErrorKind::kMisuse, "no such memory of the debugger's");
  const AddressRange range = mapping_of(*piece).range;
  pieces_.erase(piece);
  return range;
}

void DebuggerMemory::add_to(snapshot::AddressSpace& space) const {
  for (const auto& piece : pieces_) {
    const snapshot::Mapping mapping = mapping_of(piece);
    if (space.overlapping(mapping.range).empty()) space.map(mapping);
  }
}

size_t DebuggerMemory::read(GuestAddress address, std::span<uint8_t> bytes) const {
  const auto piece = holding(address);
  if (piece == pieces_.end()) return 0;
  const ByteView there =
      ByteView(piece->second.contents).subspan(address.value - piece->first.value);
  const size_t count = std::min(there.size(), bytes.size());
  std::copy_n(there.begin(), count, bytes.begin());
  return count;
}

bool DebuggerMemory::write(GuestAddress address, ByteView bytes) {
  const auto piece = holding(address);
  if (piece == pieces_.end()) return false;
  Bytes& contents = pieces_.at(piece->first).contents;
  const uint64_t offset = address.value - piece->first.value;
  if (bytes.size() > contents.size() - offset) return false;
  std::copy(bytes.begin(), bytes.end(), contents.begin() + static_cast<ptrdiff_t>(offset));
  return true;
}

Result<void> DebuggerMemory::map_into(replay::Puppet& puppet) const {
  for (const auto& [begin, piece] : pieces_) RCHK_TRY(map_into(puppet, begin));
  return {};
}

Result<void> DebuggerMemory::map_into(replay::Puppet& puppet, GuestAddress address) const {
  const auto piece = pieces_.find(address);
  if (piece == pieces_.end()) return {};
  const snapshot::Mapping mapping = mapping_of(*piece);
  if (!puppet.space().overlapping(mapping.range).empty()) return {};
  RCHK_TRY(puppet.map(mapping, {}));
  return puppet.write_memory(mapping.range.begin, piece->second.contents);
}

void DebuggerMemory::take_from(replay::Puppet& puppet) {
  for (auto& piece : pieces_) {
    const snapshot::Mapping mapping = mapping_of(piece);
    if (!is_debuggers(puppet.space(), mapping)) continue;
    Bytes contents(piece.second.contents.size());
    if (puppet.read_memory(mapping.range.begin, contents) != contents.size()) continue;
    piece.second.contents = std::move(contents);
  }
}

}  // namespace rchk::target
