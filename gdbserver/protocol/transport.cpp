#include "gdbserver/protocol/transport.h"

#include <cerrno>
#include <chrono>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

namespace rchk::protocol {

// A debugger asks several things in a row, each some 10 us behind the answer to the one before.
// Whoever sleeps meanwhile is woken later than that (docs/notes/protocol-latency.md).
void DescriptorTransport::look_out() {
  static const bool has_core_of_its_own = sysconf(_SC_NPROCESSORS_ONLN) > 1;
  constexpr std::chrono::microseconds kLongest(100);
  if (!has_core_of_its_own) return;
  const auto end = std::chrono::steady_clock::now() + kLongest;
  while (!readable() && std::chrono::steady_clock::now() < end) sched_yield();
}

Result<size_t> DescriptorTransport::read(std::span<char> buffer) {
  look_out();
  for (;;) {
    const ssize_t count = ::read(input_.get(), buffer.data(), buffer.size());
    if (count >= 0) return static_cast<size_t>(count);
    if (errno == ECONNRESET) return size_t{0};
    if (errno == EAGAIN) {
      pollfd wanted = {input_.get(), POLLIN, 0};
      poll(&wanted, 1, -1);
    } else if (errno != EINTR) {
      return fail_errno("cannot read from the debugger");
    }
  }
}

bool DescriptorTransport::readable() {
  pollfd wanted = {input_.get(), POLLIN, 0};
  return poll(&wanted, 1, 0) > 0;
}

Result<void> DescriptorTransport::write(std::string_view bytes) {
  while (!bytes.empty()) {
    // gdb's pipes are sockets too: MSG_NOSIGNAL spares them SIGPIPE, so that a debugger that left
    // is an error.
    const ssize_t count = output_is_socket_
                              ? send(output_number(), bytes.data(), bytes.size(), MSG_NOSIGNAL)
                              : ::write(output_number(), bytes.data(), bytes.size());
    if (count >= 0) {
      bytes.remove_prefix(static_cast<size_t>(count));
    } else if (errno == EAGAIN) {
      pollfd wanted = {output_number(), POLLOUT, 0};
      poll(&wanted, 1, -1);
    } else if (errno == ENOTSOCK) {
      output_is_socket_ = false;
    } else if (errno != EINTR) {
      return fail_errno("cannot write to the debugger");
    }
  }
  return {};
}

Result<std::unique_ptr<Transport>> take_standard_streams() {
  FileDescriptor input(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  FileDescriptor output(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!input.is_open() || !output.is_open()) return fail_errno("cannot take the standard streams");
  const FileDescriptor nothing(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!nothing.is_open()) return fail_errno("cannot open /dev/null");
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (dup2(nothing.get(), stream) < 0) return fail_errno("cannot replace a standard stream");
  }
  return std::make_unique<DescriptorTransport>(std::move(input), std::move(output));
}

Result<Listener> Listener::open(const std::string& host, uint16_t port) {
  const std::string name = host.empty() ? "127.0.0.1" : host;
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int status = getaddrinfo(name.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (status != 0) {
    return fail(ErrorKind::kMisuse,
                fmt::format("cannot listen on {}: {}", name, gai_strerror(status)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> address(found, &freeaddrinfo);
  FileDescriptor listening(socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  if (!listening.is_open() ||
      setsockopt(listening.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) != 0 ||
      bind(listening.get(), address->ai_addr, address->ai_addrlen) != 0 ||
      listen(listening.get(), 1) != 0) {
    return fail_errno(fmt::format("cannot listen on {}:{}", name, port));
  }
  sockaddr_storage bound = {};
  socklen_t size = sizeof(bound);
  if (getsockname(listening.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
    return fail_errno("cannot tell the port");
  }
  const uint16_t chosen =
      ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                        : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
  return Listener(std::move(listening), chosen);
}

Result<std::unique_ptr<Transport>> Listener::accept() {
  for (;;) {
    FileDescriptor connection(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection.is_open()) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return fail_errno("cannot accept a debugger's connection");
    }
    // Replies are small and waited for: Nagle's algorithm would add 40 ms to some of them.
    const int yes = 1;
    setsockopt(connection.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    return std::make_unique<DescriptorTransport>(std::move(connection));
  }
}

}  // namespace rchk::protocol
