#pragma once

#include <map>
#include <span>

#include "base/bytes.h"
#include "base/result.h"
#include "base/types.h"
#include "engine/replay/puppet.h"
#include "snapshot/address_space.h"

namespace rchk::target {

// Memory that the debugger has allocated for its own use. lldb keeps what it was once given, code
// of its expressions and conditions included, for as long as the program lives, while diversions
// are thrown away at each move. So this owns the contents between diversions, and puts them into
// each new one. It lies where no program is expected to map anything; where one does, the program's
// memory is what is there.
//
// Pieces are whole pages and never overlap.
class DebuggerMemory {
 public:
  // A piece of zeros where neither another one nor anything of `space` is. 64 MiB at most in all.
  Result<GuestAddress> allocate(uint64_t size_bytes, uint8_t protection,
                                const snapshot::AddressSpace& space);
  // Where the piece was that began at `address`; kMisuse where none begins there.
  Result<AddressRange> deallocate(GuestAddress address);

  bool holds(GuestAddress address) const { return holding(address) != pieces_.end(); }
  // Puts the pieces into `space` where nothing else is.
  void add_to(snapshot::AddressSpace& space) const;

  // Between diversions. Copies from one piece, and returns how many bytes were there.
  size_t read(GuestAddress address, std::span<uint8_t> bytes) const;
  // False, and nothing is written, if not all of it lies in one piece.
  bool write(GuestAddress address, ByteView bytes);

  // Maps all pieces, or the one at `address`, into a new diversion, where nothing else is there.
  Result<void> map_into(replay::Puppet& puppet) const;
  Result<void> map_into(replay::Puppet& puppet, GuestAddress address) const;
  // Takes over what a diversion that ends has made of the pieces.
  void take_from(replay::Puppet& puppet);

 private:
  struct Piece {
    uint8_t protection = 0;
    Bytes contents;
  };
  using Pieces = std::map<GuestAddress, Piece>;
  static snapshot::Mapping mapping_of(const Pieces::value_type& piece);
  Pieces::const_iterator holding(GuestAddress address) const;

  Pieces pieces_;
};

}  // namespace rchk::target
