#include "gdbserver/protocol/reply.h"

#include "gdbserver/protocol/hex.h"

namespace rchk::protocol {

void Reply::error(PacketError error) {
  contents_.assign(1, 'E');
  const auto number = static_cast<uint8_t>(error);
  append_hex(contents_, ByteView(&number, 1));
}

}  // namespace rchk::protocol
