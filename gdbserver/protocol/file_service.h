#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/bytes.h"
#include "base/fd.h"
#include "gdbserver/protocol/reply.h"

namespace rchk::protocol {

// The vFile packets (gdb manual, "Host I/O Packets"): files for the debugger to read. What the
// recording holds comes first, then this machine's own files. Nothing can be written.
class FileService {
 public:
  // Finds the contents of a file that the recording has, by the guest's name for it.
  using Embedded = std::function<std::optional<ByteView>(std::string_view path)>;
  // Finds where a symbolic link leads that the recording knows better than this machine.
  using EmbeddedLink = std::function<std::optional<std::string>(std::string_view path)>;
  FileService(Embedded embedded, EmbeddedLink embedded_link)
      : embedded_(std::move(embedded)), embedded_link_(std::move(embedded_link)) {}

  // `arguments`: the operation's name and its arguments, as behind "vFile:".
  void handle(std::string_view arguments, Reply& reply);

 private:
  using OpenFile = std::variant<FileDescriptor, ByteView>;

  void open(std::string_view arguments, Reply& reply);
  void close(std::string_view arguments, Reply& reply);
  void read(std::string_view arguments, Reply& reply);
  void status(std::string_view arguments, Reply& reply);
  void read_link(std::string_view arguments, Reply& reply);
  void exists(std::string_view arguments, Reply& reply);
  void size(std::string_view arguments, Reply& reply);
  OpenFile* find(uint64_t number);

  Embedded embedded_;
  EmbeddedLink embedded_link_;
  std::map<uint64_t, OpenFile> open_;
};

}  // namespace rchk::protocol
