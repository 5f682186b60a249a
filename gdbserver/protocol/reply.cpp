#include "gdbserver/protocol/reply.h"

#include "gdbserver/protocol/hex.h"

namespace rchk::protocol {

void Reply::error(PacketError error) {
  contents_ = "E";
  const auto number = static_cast<uint8_t>(error);
  append_hex(contents_, ByteView(&number, 1));
}

void Reply::failure(const Error& error) {
  if (error.kind == ErrorKind::kUnsupported) {
    contents_.clear();
  } else {
    this->error(PacketError::kFailed);
  }
}

}  // namespace rchk::protocol
