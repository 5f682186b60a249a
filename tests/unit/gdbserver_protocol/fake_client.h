#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "gdbserver/protocol/session.h"

namespace rchk::protocol::testing {

// A transport in memory: what a test has queued is read, and then the stream is at its end.
class MemoryTransport : public Transport {
 public:
  std::string input;
  std::string output;
  // After so many calls of readable(), the debugger has sent an interrupt.
  std::optional<int> interrupt_after;
  bool broken = false;  // writes fail

  Result<size_t> read(std::span<char> buffer) override;
  bool readable() override;
  Result<void> write(std::string_view bytes) override;
};

std::string framed(std::string_view contents);
// All packets in `wire`, with runs expanded and escapes undone; acknowledgements are skipped.
// Fails the test when a checksum is wrong.
std::vector<std::string> packets_in(std::string_view wire);

// A debugger's end of a session in memory.
class FakeClient {
 public:
  explicit FakeClient(target::Target& target) : session(target, transport) {}

  // Sends a packet, and returns all packets that came back.
  std::vector<std::string> exchange(std::string_view packet);
  // Sends a packet, and returns the last one that came back; "(nothing)" if none did.
  std::string ask(std::string_view packet);
  // Sends bytes as they are, and returns the bytes that came back.
  std::string raw(std::string_view bytes);
  // How the last exchange ended: kDisconnected as long as the session goes on.
  SessionEnd end() const { return end_; }

  MemoryTransport transport;
  Session session;

 private:
  SessionEnd end_ = SessionEnd::kDisconnected;
};

}  // namespace rchk::protocol::testing
