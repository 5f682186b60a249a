#pragma once

#include <string_view>

#include "gdbserver/protocol/context.h"
#include "gdbserver/protocol/reply.h"

// One handler a packet. Each takes what stands behind the packet's name (and the delimiter that
// ended the name), and says the reply. handlers_FAMILY.cpp holds each family.
namespace rchk::protocol::handlers {

#define RCHK_PACKET(name, handler) \
  void handler(Context& context, std::string_view arguments, Reply& reply);
#include "gdbserver/protocol/packets.def"
#undef RCHK_PACKET

}  // namespace rchk::protocol::handlers
