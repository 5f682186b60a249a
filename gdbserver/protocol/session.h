#pragma once

#include <memory>

#include "base/result.h"
#include "gdbserver/protocol/context.h"
#include "gdbserver/protocol/packet_stream.h"
#include "gdbserver/protocol/transport.h"
#include "gdbserver/target/target.h"

namespace rchk::protocol {

struct SessionOptions {
  PacketStream::Log log;         // shown every packet, for debugging the protocol
  Progress* progress = nullptr;  // of what the target does; outlives the session
};

// One debugger's session with one target: answers packets until the debugger leaves, or the
// program does. No packet ends it by being malformed, unknown or damaged.
class Session {
 public:
  // Both must outlive the session.
  Session(target::Target& target, Transport& transport, SessionOptions options = {});
  ~Session();

  // Serves. An error is the transport's.
  Result<SessionEnd> run();

 private:
  void answer(std::string_view packet, Reply& reply);

  PacketStream stream_;
  Context context_;
  Progress* progress_;
};

}  // namespace rchk::protocol
