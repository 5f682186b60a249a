#include "gdbserver/protocol/transport.h"

#include <array>
#include <future>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gdbserver/protocol/packet_stream.h"

namespace rchk::protocol {
namespace {

struct Ends {
  FileDescriptor ours, theirs;
};

Ends socket_pair() {
  int ends[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

Ends pipe_pair() {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

TEST(DescriptorTransport, ReadsAndWritesASocket) {
  Ends ends = socket_pair();
  DescriptorTransport transport(std::move(ends.ours));
  EXPECT_FALSE(transport.readable());
  ASSERT_EQ(write(ends.theirs.get(), "abc", 3), 3);
  EXPECT_TRUE(transport.readable());
  std::array<char, 16> buffer;
  EXPECT_EQ(transport.read(buffer).value(), 3u);
  EXPECT_TRUE(transport.write("xy"));
  EXPECT_EQ(read(ends.theirs.get(), buffer.data(), buffer.size()), 2);
}

TEST(DescriptorTransport, WritesAPipe) {
  Ends in = pipe_pair(), out = pipe_pair();
  DescriptorTransport transport(std::move(in.ours), std::move(out.theirs));
  EXPECT_TRUE(transport.write("xy"));
  EXPECT_TRUE(transport.write("z"));
  std::array<char, 16> buffer;
  EXPECT_EQ(read(out.ours.get(), buffer.data(), buffer.size()), 3);
}

TEST(DescriptorTransport, TellsThatTheDebuggerLeft) {
  Ends ends = socket_pair();
  DescriptorTransport transport(std::move(ends.ours));
  ends.theirs.reset();
  std::array<char, 16> buffer;
  EXPECT_TRUE(transport.readable());
  EXPECT_EQ(transport.read(buffer).value(), 0u);
  EXPECT_FALSE(transport.write("xy"));
}

TEST(DescriptorTransport, WritesMoreThanFits) {
  Ends ends = socket_pair();
  DescriptorTransport transport(std::move(ends.ours));
  const std::string sent(1 << 20, 'x');
  auto received = std::async(std::launch::async, [&] {
    std::array<char, 4096> buffer;
    size_t total = 0;
    while (total < sent.size()) {
      const ssize_t count = read(ends.theirs.get(), buffer.data(), buffer.size());
      if (count <= 0) break;
      total += static_cast<size_t>(count);
    }
    return total;
  });
  EXPECT_TRUE(transport.write(sent));
  EXPECT_EQ(received.get(), sent.size());
}

TEST(PacketStream, TakesTheDebuggersLeavingForAnInterrupt) {
  Ends ends = socket_pair();
  DescriptorTransport transport(std::move(ends.ours));
  PacketStream stream(transport);
  EXPECT_FALSE(stream.interrupt_pending());
  ASSERT_EQ(write(ends.theirs.get(), "++", 2), 2);
  EXPECT_FALSE(stream.interrupt_pending());
  ASSERT_EQ(write(ends.theirs.get(), "+\x03", 2), 2);
  EXPECT_TRUE(stream.interrupt_pending());
  EXPECT_FALSE(stream.interrupt_pending());
  ends.theirs.reset();
  EXPECT_TRUE(stream.interrupt_pending());
  EXPECT_EQ(stream.receive().value(), Received::kClosed);
}

TEST(Listener, AcceptsDebuggers) {
  Result<Listener> listener = Listener::open("", 0);
  ASSERT_TRUE(listener) << listener.error().message();
  ASSERT_NE(listener->port(), 0);
  const FileDescriptor debugger(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(listener->port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(connect(debugger.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const auto transport = listener->accept();
  ASSERT_TRUE(transport);
  ASSERT_EQ(write(debugger.get(), "a", 1), 1);
  std::array<char, 16> buffer;
  EXPECT_EQ((*transport)->read(buffer).value(), 1u);
}

TEST(Listener, FailsOnATakenPortAndABadName) {
  Result<Listener> first = Listener::open("", 0);
  ASSERT_TRUE(first);
  EXPECT_FALSE(Listener::open("", first->port()));
  const auto bad = Listener::open("300.1.2.3", 1);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().kind, ErrorKind::kMisuse);
}

}  // namespace
}  // namespace rchk::protocol
