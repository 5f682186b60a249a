#include "engine/syscalls/buffers.h"

#include <algorithm>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

namespace rchk::syscalls {
namespace {

constexpr uint64_t kMaxTransferBytes = 0x7ffff000;  // MAX_RW_COUNT (include/linux/fs.h)
constexpr uint64_t kMaxIovecs = 1024;               // UIO_MAXIOV (include/uapi/linux/uio.h)
constexpr uint64_t kMaxMessages = 1024;             // net/socket.c, do_recvmmsg
constexpr uint64_t kMaxDescriptors = 1 << 20;       // of one poll or select; more is left alone
constexpr uint64_t kMaxAddressBytes = sizeof(sockaddr_storage);
constexpr uint64_t kMaxControlBytes = 1 << 20;
constexpr uint64_t kPollfdBytes = 8, kEpollEventBytes = 12, kMessageBytes = 64;
constexpr uint64_t kOffsetBytes = 8, kTimeBytes = 16, kSiginfoBytes = 128, kRusageBytes = 144;

struct Iovec {
  uint64_t base;
  uint64_t bytes;
};

template <typename T>
std::optional<T> value_at(GuestAddress address, const MemoryReader& memory) {
  T value;
  const std::span<uint8_t> bytes{reinterpret_cast<uint8_t*>(&value), sizeof(T)};
  if (memory.read(address, bytes) != sizeof(T)) return std::nullopt;
  return value;
}

// Collects the buffers of one call.
class Collector {
 public:
  Collector(const Call& call, const MemoryReader& memory) : call_(call), memory_(memory) {}

  uint64_t argument(size_t index) const { return call_.arguments[index]; }
  void argument_is(size_t index, uint64_t bytes, BufferUse use) {
    if (const auto buffer = add({argument(index)}, bytes, use)) {
      found_.pointers.push_back({*buffer, index, 0, 0});
    }
  }
  // An address of a socket and its length, which goes in and out.
  void address_is(size_t address, size_t length) {
    if (argument(address) == 0) return;
    const auto room = value_at<int32_t>({argument(length)}, memory_);
    if (!room || *room < 0) return refuse();
    const auto bytes = std::min<uint64_t>(static_cast<uint64_t>(*room), kMaxAddressBytes);
    argument_is(address, bytes, BufferUse::kChanged);
    argument_is(length, sizeof(int32_t), BufferUse::kChanged);
  }
  void iovecs_are(size_t index, uint64_t count, BufferUse use) {
    if (const auto array = add_iovecs({argument(index)}, count, use)) {
      found_.pointers.push_back({*array, index, 0, 0});
    }
  }
  void messages_are(size_t index, uint64_t count, uint64_t bytes_each, BufferUse use);
  void result_counts(uint64_t before, uint64_t each) {
    found_.bytes_before = before;
    found_.bytes_each = each;
  }
  void refuse() { refused_ = true; }

  std::optional<CallBuffers> take();

 private:
  std::optional<size_t> add(GuestAddress address, uint64_t bytes, BufferUse use) {
    if (address.value == 0 || bytes == 0) return std::nullopt;
    if (address.value + bytes < address.value) refuse();
    found_.buffers.push_back({range_of(address, bytes), use});
    return found_.buffers.size() - 1;
  }
  void add_behind(size_t holder, uint64_t offset_bytes, std::optional<size_t> buffer) {
    if (buffer) found_.pointers.push_back({*buffer, std::nullopt, holder, offset_bytes});
  }
  std::optional<size_t> add_iovecs(GuestAddress iovecs, uint64_t count, BufferUse use);

  const Call& call_;
  const MemoryReader& memory_;
  CallBuffers found_;
  bool refused_ = false;
};

std::optional<size_t> Collector::add_iovecs(GuestAddress iovecs, uint64_t count, BufferUse use) {
  if (count > kMaxIovecs) refuse();
  if (refused_ || count == 0) return std::nullopt;
  std::vector<Iovec> parts(count);
  const std::span<uint8_t> bytes{reinterpret_cast<uint8_t*>(parts.data()), count * sizeof(Iovec)};
  const auto array = add(iovecs, bytes.size(), BufferUse::kRead);
  if (!array || memory_.read(iovecs, bytes) != bytes.size()) {
    refuse();
    return std::nullopt;
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].bytes > kMaxTransferBytes) refuse();
    add_behind(*array, i * sizeof(Iovec), add({parts[i].base}, parts[i].bytes, use));
  }
  return array;
}

// struct user_msghdr, or struct mmsghdr, which begins with one.
void Collector::messages_are(size_t index, uint64_t count, uint64_t bytes_each, BufferUse use) {
  constexpr uint64_t kName = offsetof(msghdr, msg_name), kIovecs = offsetof(msghdr, msg_iov),
                     kControl = offsetof(msghdr, msg_control);
  const GuestAddress first{argument(index)};
  const auto array = add(first, count * bytes_each, BufferUse::kChanged);
  if (!array) return refuse();
  found_.pointers.push_back({*array, index, 0, 0});
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t at = i * bytes_each;
    const auto header = value_at<msghdr>(first + at, memory_);
    if (!header) return refuse();
    const auto address_of = [](const void* pointer) {
      return GuestAddress{reinterpret_cast<uint64_t>(pointer)};
    };
    const auto name_bytes = std::min<uint64_t>(header->msg_namelen, kMaxAddressBytes);
    add_behind(*array, at + kName,
               add(address_of(header->msg_name), name_bytes, BufferUse::kChanged));
    add_behind(*array, at + kIovecs,
               add_iovecs(address_of(header->msg_iov), header->msg_iovlen, use));
    if (header->msg_controllen > kMaxControlBytes) return refuse();
    add_behind(*array, at + kControl,
               add(address_of(header->msg_control), header->msg_controllen, BufferUse::kChanged));
  }
}

std::optional<CallBuffers> Collector::take() {
  const auto stores = [](const CallBuffer& buffer) { return buffer.use != BufferUse::kRead; };
  if (refused_ || std::none_of(found_.buffers.begin(), found_.buffers.end(), stores)) {
    return std::nullopt;
  }
  std::vector<AddressRange> ranges;
  ranges.reserve(found_.buffers.size());
  for (const CallBuffer& buffer : found_.buffers) ranges.push_back(buffer.range);
  std::sort(ranges.begin(), ranges.end());
  const auto overlap = [](const AddressRange& a, const AddressRange& b) { return a.overlaps(b); };
  if (std::adjacent_find(ranges.begin(), ranges.end(), overlap) != ranges.end()) {
    return std::nullopt;
  }
  return std::move(found_);
}

// False where the call's own arguments say that it comes back at once.
bool may_wait(const Call& call) {
  const auto& arguments = call.arguments;
  switch (call.number) {
    case nr::recvfrom:
    case nr::recvmmsg:
      return (arguments[3] & MSG_DONTWAIT) == 0;
    case nr::recvmsg:
      return (arguments[2] & MSG_DONTWAIT) == 0;
    case nr::preadv2:
      return (arguments[5] & RWF_NOWAIT) == 0;
    case nr::splice:
      return (arguments[5] & SPLICE_F_NONBLOCK) == 0;
    case nr::poll:
      return static_cast<int32_t>(arguments[2]) != 0;
    case nr::epoll_wait:
    case nr::epoll_pwait:
      return static_cast<int32_t>(arguments[3]) != 0;
    case nr::wait4:
      return (arguments[2] & WNOHANG) == 0;
    case nr::waitid:
      return (arguments[3] & WNOHANG) == 0;
    default:
      return true;
  }
}

// Protocols may count what they throw away (tcp(7), MSG_TRUNC).
BufferUse use_of_received(uint64_t flags) {
  return (flags & MSG_TRUNC) != 0 ? BufferUse::kChanged : BufferUse::kCounted;
}

void collect_files(Collector& call, int32_t number) {
  const uint64_t bytes = std::min(call.argument(2), kMaxTransferBytes);
  switch (number) {
    case nr::read:
    case nr::pread64:
      return call.argument_is(1, bytes, BufferUse::kCounted);
    case nr::readv:
    case nr::preadv:
    case nr::preadv2:
      return call.iovecs_are(1, call.argument(2), BufferUse::kCounted);
    case nr::mq_timedreceive:
      call.argument_is(1, bytes, BufferUse::kCounted);
      return call.argument_is(3, sizeof(uint32_t), BufferUse::kChanged);
    case nr::sendfile:
      return call.argument_is(2, kOffsetBytes, BufferUse::kChanged);
    case nr::splice:
    case nr::copy_file_range:
      call.argument_is(1, kOffsetBytes, BufferUse::kChanged);
      return call.argument_is(3, kOffsetBytes, BufferUse::kChanged);
    case nr::msgrcv:
      call.result_counts(sizeof(int64_t), 1);  // struct msgbuf: the type comes first
      return call.argument_is(1, sizeof(int64_t) + bytes, BufferUse::kCounted);
    default:
      return;
  }
}

void collect_sockets(Collector& call, int32_t number) {
  switch (number) {
    case nr::accept:
    case nr::accept4:
      return call.address_is(1, 2);
    case nr::recvfrom:
      call.argument_is(1, std::min(call.argument(2), kMaxTransferBytes),
                       use_of_received(call.argument(3)));
      return call.address_is(4, 5);
    case nr::recvmsg:
      return call.messages_are(1, 1, sizeof(msghdr), use_of_received(call.argument(2)));
    case nr::recvmmsg: {
      // The result counts messages, each of which has a count of its own.
      const uint64_t count =
          std::min<uint64_t>(static_cast<uint32_t>(call.argument(2)), kMaxMessages);
      call.messages_are(1, count, kMessageBytes, BufferUse::kChanged);
      return call.argument_is(4, kTimeBytes, BufferUse::kChanged);
    }
    default:
      return;
  }
}

void collect_polls(Collector& call, int32_t number) {
  constexpr uint64_t kBitsPerWord = 64, kWordBytes = 8;
  switch (number) {
    case nr::poll:
    case nr::ppoll: {
      const uint64_t count = static_cast<uint32_t>(call.argument(1));
      if (count > kMaxDescriptors) return call.refuse();
      call.argument_is(0, count * kPollfdBytes, BufferUse::kChanged);
      if (number == nr::ppoll) call.argument_is(2, kTimeBytes, BufferUse::kChanged);
      return;
    }
    case nr::select:
    case nr::pselect6: {
      const auto count = static_cast<int32_t>(call.argument(0));
      if (count < 0 || static_cast<uint64_t>(count) > kMaxDescriptors) return call.refuse();
      const uint64_t words = (static_cast<uint64_t>(count) + kBitsPerWord - 1) / kBitsPerWord;
      for (size_t set = 1; set <= 3; ++set) {
        call.argument_is(set, words * kWordBytes, BufferUse::kChanged);
      }
      return call.argument_is(4, kTimeBytes, BufferUse::kChanged);
    }
    case nr::epoll_wait:
    case nr::epoll_pwait:
    case nr::epoll_pwait2: {
      const auto count = static_cast<int32_t>(call.argument(2));
      if (count <= 0) return call.refuse();
      if (number == nr::epoll_pwait2) call.argument_is(3, kTimeBytes, BufferUse::kTimeOut);
      call.result_counts(0, kEpollEventBytes);
      return call.argument_is(1, static_cast<uint64_t>(count) * kEpollEventBytes,
                              BufferUse::kCounted);
    }
    default:
      return;
  }
}

void collect_waits(Collector& call, int32_t number) {
  switch (number) {
    case nr::wait4:
      call.argument_is(1, sizeof(int32_t), BufferUse::kChanged);
      return call.argument_is(3, kRusageBytes, BufferUse::kChanged);
    case nr::waitid:
      call.argument_is(2, kSiginfoBytes, BufferUse::kChanged);
      return call.argument_is(4, kRusageBytes, BufferUse::kChanged);
    case nr::rt_sigtimedwait:
      call.argument_is(1, kSiginfoBytes, BufferUse::kChanged);
      return call.argument_is(2, kTimeBytes, BufferUse::kTimeOut);
    case nr::semtimedop:
      return call.argument_is(3, kTimeBytes, BufferUse::kTimeOut);
    default:
      return;
  }
}

}  // namespace

std::optional<CallBuffers> buffers_of(const Call& call, const MemoryReader& memory) {
  if (!may_wait(call)) return std::nullopt;
  Collector collector(call, memory);
  collect_files(collector, call.number);
  collect_sockets(collector, call.number);
  collect_polls(collector, call.number);
  collect_waits(collector, call.number);
  return collector.take();
}

std::vector<AddressRange> counted_parts(const CallBuffers& buffers, int64_t result) {
  std::vector<AddressRange> parts;
  if (result < 0) return parts;
  uint64_t bytes = buffers.bytes_before + static_cast<uint64_t>(result) * buffers.bytes_each;
  for (const CallBuffer& buffer : buffers.buffers) {
    const uint64_t used = std::min(bytes, buffer.range.size());
    if (buffer.use != BufferUse::kCounted || used == 0) continue;
    parts.push_back(range_of(buffer.range.begin, used));
    bytes -= used;
  }
  return parts;
}

}  // namespace rchk::syscalls
