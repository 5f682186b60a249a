#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace rchk::protocol {

// The bytes between debugger and server.
class Transport {
 public:
  virtual ~Transport() = default;
  // Waits for bytes and reads what is there; 0 when the debugger has closed its end.
  virtual Result<size_t> read(std::span<char> buffer) = 0;
  // True if read() would return at once. Cheap: one system call.
  virtual bool readable() = 0;
  // Writes all of it.
  virtual Result<void> write(std::string_view bytes) = 0;
};

// Two descriptors, which may be the same socket. A debugger that left is an error of write();
// where the output is a pipe proper, only if SIGPIPE is ignored in this process.
class DescriptorTransport : public Transport {
 public:
  DescriptorTransport(FileDescriptor input, FileDescriptor output)
      : input_(std::move(input)), output_(std::move(output)) {}
  explicit DescriptorTransport(FileDescriptor socket) : input_(std::move(socket)) {}

  Result<size_t> read(std::span<char> buffer) override;
  bool readable() override;
  Result<void> write(std::string_view bytes) override;

 private:
  // Waits for bytes without sleeping, for a moment.
  void look_out();
  int output_number() const { return output_.is_open() ? output_.get() : input_.get(); }

  FileDescriptor input_;
  FileDescriptor output_;         // not open: `input_` is a socket
  bool output_is_socket_ = true;  // until a write tells otherwise
};

// For `target remote | rchk ...`: takes standard input and output for the protocol and puts
// /dev/null in their places and in that of standard error, for this process and all it starts.
// gdb polls the stub's standard error once for each byte that it reads, which makes a reverse
// step five times slower (measured); what the user must read goes as console output instead.
Result<std::unique_ptr<Transport>> take_standard_streams();

// A listening TCP socket.
class Listener {
 public:
  // `port` 0 lets the kernel choose. `host`: a numeric address or a name; empty is 127.0.0.1,
  // for a debugger's connection is not protected by anything.
  static Result<Listener> open(const std::string& host, uint16_t port);

  uint16_t port() const { return port_; }
  // Waits for a debugger.
  Result<std::unique_ptr<Transport>> accept();

 private:
  Listener(FileDescriptor socket, uint16_t port) : socket_(std::move(socket)), port_(port) {}

  FileDescriptor socket_;
  uint16_t port_ = 0;
};

}  // namespace rchk::protocol
