#include "fake_client.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "gdbserver/protocol/hex.h"

namespace rchk::protocol::testing {

Result<size_t> MemoryTransport::read(std::span<char> buffer) {
  const size_t count = std::min(buffer.size(), input.size());
  std::copy_n(input.begin(), count, buffer.begin());
  input.erase(0, count);
  return count;
}

bool MemoryTransport::readable() {
  if (interrupt_after && --*interrupt_after <= 0) {
    input.insert(0, 1, '\x03');
    interrupt_after.reset();
  }
  return !input.empty();
}

Result<void> MemoryTransport::write(std::string_view bytes) {
  if (broken) return fail_errno("cannot write to the debugger", EPIPE);
  output.append(bytes);
  return {};
}

std::string framed(std::string_view contents) {
  uint8_t sum = 0;
  for (const char symbol : contents) sum = static_cast<uint8_t>(sum + symbol);
  std::string out = "$" + std::string(contents) + "#";
  append_hex(out, ByteView(&sum, 1));
  return out;
}

std::vector<std::string> packets_in(std::string_view wire) {
  std::vector<std::string> packets;
  size_t begin = 0;
  while ((begin = wire.find('$', begin)) != std::string_view::npos) {
    const size_t end = wire.find('#', begin);
    if (end == std::string_view::npos || end + 2 >= wire.size()) {
      ADD_FAILURE() << "a packet without an end: " << wire;
      return packets;
    }
    const std::string_view contents = wire.substr(begin + 1, end - begin - 1);
    EXPECT_EQ(framed(contents), wire.substr(begin, end + 3 - begin));
    std::string packet;
    for (size_t i = 0; i < contents.size(); ++i) {
      if (contents[i] == '*' && i + 1 < contents.size() && !packet.empty()) {
        packet.append(static_cast<size_t>(contents[++i] - 29), packet.back());
      } else if (contents[i] == '}' && i + 1 < contents.size()) {
        packet.push_back(static_cast<char>(contents[++i] ^ 0x20));
      } else {
        packet.push_back(contents[i]);
      }
    }
    packets.push_back(packet);
    begin = end + 3;
  }
  return packets;
}

std::vector<std::string> FakeClient::exchange(std::string_view packet) {
  return packets_in(raw(framed(packet)));
}

std::string FakeClient::ask(std::string_view packet) {
  const std::vector<std::string> replies = exchange(packet);
  return replies.empty() ? "(nothing)" : replies.back();
}

std::string FakeClient::raw(std::string_view bytes) {
  transport.input.append(bytes);
  transport.output.clear();
  const Result<SessionEnd> end = session.run();
  if (end) end_ = *end;
  return transport.output;
}

}  // namespace rchk::protocol::testing
