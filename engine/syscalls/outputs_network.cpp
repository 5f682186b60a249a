// Outputs of socket calls that the table's words cannot describe (net/socket.c).

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "engine/syscalls/walk.h"

namespace rchk::syscalls {
namespace {

constexpr uint64_t kMaxAddressBytes = sizeof(sockaddr_storage);
constexpr uint64_t kMaxMessages = 1024;  // UIO_MAXIOV bounds recvmmsg and sendmmsg too
constexpr uint64_t kMessageBytes = 64;   // struct mmsghdr: a msghdr, msg_len, padding

// struct user_msghdr, as 64-bit programs have it.
struct MessageHeader {
  uint64_t name;
  int32_t name_bytes;
  int32_t padding;
  uint64_t iovecs;
  uint64_t iovec_count;
  uint64_t control;
  uint64_t control_bytes;
  uint32_t flags;
  uint32_t padding2;
};
static_assert(sizeof(MessageHeader) == sizeof(msghdr));

// What was received into one message of `bytes`. The kernel overwrites name_bytes,
// control_bytes and flags of the header, so the room for them is what the header said before.
void message_written(Walk& walk, GuestAddress address, bool stored, uint64_t bytes) {
  const auto header = walk.before<MessageHeader>(address);
  if (!header) return;
  // Before the call this also keeps the iovecs.
  walk.filled_vector({header->iovecs}, header->iovec_count, stored ? bytes : 0);
  if (!stored) return;
  walk.wrote(address, sizeof(MessageHeader));
  if (header->name_bytes > 0) {
    walk.wrote({header->name},
               std::min<uint64_t>(static_cast<uint64_t>(header->name_bytes), kMaxAddressBytes));
  }
  uint64_t control_bytes = header->control_bytes;
  if (walk.succeeded()) {
    // Afterwards: how much of the control buffer is in use, padding included.
    if (const auto now = walk.after<MessageHeader>(address)) {
      control_bytes = std::min(control_bytes, now->control_bytes);
    }
  }
  walk.wrote({header->control}, control_bytes);
}

}  // namespace

void recvmsg_outputs(Walk& walk) {
  const uint64_t bytes = walk.succeeded() ? static_cast<uint64_t>(walk.result()) : 0;
  message_written(walk, walk.pointer(1), walk.may_have_stored(), bytes);
}

void recvmmsg_outputs(Walk& walk) {
  const uint64_t room = std::min<uint64_t>(static_cast<uint32_t>(walk.argument(2)), kMaxMessages);
  const uint64_t received = walk.succeeded() ? static_cast<uint64_t>(walk.result()) : 0;
  for (uint64_t i = 0; i < room; ++i) {
    const GuestAddress message = walk.pointer(1) + i * kMessageBytes;
    if (walk.before_call() || i == received) {
      // The message that failed: the call ends with the count before it, or with the error.
      message_written(walk, message, walk.result() == -EFAULT, 0);
    } else if (i < received) {
      walk.wrote(message, kMessageBytes);
      message_written(walk, message, true,
                      walk.after<uint32_t>(message + sizeof(MessageHeader)).value_or(0));
    } else {
      return;
    }
  }
}

// msg_len of each message that was sent.
void sendmmsg_outputs(Walk& walk) {
  const uint64_t sent = walk.succeeded() ? static_cast<uint64_t>(walk.result()) : 0;
  // One more: the length of a message can be stored and the next one fault.
  const uint64_t stored = walk.result() == -EFAULT ? 1 : std::min(sent, kMaxMessages);
  for (uint64_t i = 0; i < stored; ++i) {
    walk.wrote(walk.pointer(1) + (i * kMessageBytes + sizeof(MessageHeader)), 4);
  }
}

// Protocols differ in what they store and when; none stores past the length that was given,
// which is a count of 8-byte filter instructions for SO_GET_FILTER (net/core/filter.c).
void getsockopt_outputs(Walk& walk) {
  const auto length = walk.before<int32_t>(walk.pointer(4));
  if (!length || *length <= 0) return;
  const auto level = static_cast<int>(walk.argument(1));
  const auto option = static_cast<int>(walk.argument(2));
  const bool filter = level == SOL_SOCKET && option == SO_GET_FILTER;
  // No option is as long; the length may be anything.
  constexpr uint64_t kLongest = uint64_t{64} << 20;
  const auto bytes = std::min(kLongest, static_cast<uint64_t>(*length) * (filter ? 8 : 1));
  const bool nothing = walk.result() == -EBADF || walk.result() == -ENOTSOCK ||
                       walk.result() == -ENOPROTOOPT || walk.result() == -EOPNOTSUPP;
  if (!nothing) walk.wrote(walk.pointer(3), bytes);
  if (level == IPPROTO_TCP && option == TCP_ZEROCOPY_RECEIVE && walk.succeeded()) {
    walk.doubt("TCP_ZEROCOPY_RECEIVE maps received pages");
  }
}

}  // namespace rchk::syscalls
