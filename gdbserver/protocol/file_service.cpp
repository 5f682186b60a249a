#include "gdbserver/protocol/file_service.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <optional>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gdbserver/protocol/hex.h"

namespace rchk::protocol {
namespace {

// Numbers of the File-I/O protocol (gdb manual, "Errno Values"); those of Linux where it has the
// same one.
constexpr int kNameTooLong = 91;
constexpr int kUnknownErrno = 9999;
constexpr int kProtocolErrnos[] = {EPERM,  ENOENT, EINTR,  EBADF,   EACCES, EFAULT,
                                   EBUSY,  EEXIST, ENODEV, ENOTDIR, EISDIR, EINVAL,
                                   ENFILE, EMFILE, EFBIG,  ENOSPC,  ESPIPE, EROFS};
// What open() may be asked for (gdb manual, "Open Flags"): 0 is reading.
constexpr uint64_t kReadOnly = 0;
// A debugger that opens more has lost count.
constexpr size_t kMaxOpenFiles = 1000;

void fail_with_errno(Reply& reply, int number) {
  int shown = kUnknownErrno;
  if (number == ENAMETOOLONG) {
    shown = kNameTooLong;
  } else if (std::find(std::begin(kProtocolErrnos), std::end(kProtocolErrnos), number) !=
             std::end(kProtocolErrnos)) {
    shown = number;
  }
  reply.text() = "F-1,";
  append_number(reply.text(), static_cast<uint64_t>(shown));
}

void result(Reply& reply, uint64_t value) {
  reply.text() = "F";
  append_number(reply.text(), value);
}

void result_with_data(Reply& reply, ByteView data) {
  std::string& out = reply.binary();
  out = "F";
  append_number(out, data.size());
  out.push_back(';');
  append_escaped(out, data);
}

// struct stat of the File-I/O protocol: big-endian (gdb manual, "struct stat").
Bytes protocol_stat(const struct stat& status) {
  Bytes out;
  const auto put = [&out](uint64_t value, int bytes) {
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
      out.push_back(static_cast<uint8_t>(value >> shift));
    }
  };
  put(status.st_dev, 4);
  put(status.st_ino, 4);
  put(status.st_mode, 4);
  put(status.st_nlink, 4);
  put(status.st_uid, 4);
  put(status.st_gid, 4);
  put(status.st_rdev, 4);
  put(static_cast<uint64_t>(status.st_size), 8);
  put(static_cast<uint64_t>(status.st_blksize), 8);
  put(static_cast<uint64_t>(status.st_blocks), 8);
  put(static_cast<uint64_t>(status.st_atime), 4);
  put(static_cast<uint64_t>(status.st_mtime), 4);
  put(static_cast<uint64_t>(status.st_ctime), 4);
  return out;
}

std::optional<std::string> decode_path(std::string_view digits) {
  auto path = decode_hex_text(digits);
  // An embedded zero would cut the name short for the kernel.
  if (path && (path->empty() || path->find('\0') != std::string::npos)) return std::nullopt;
  return path;
}

}  // namespace

void FileService::handle(std::string_view arguments, Reply& reply) {
  PacketCursor cursor(arguments);
  const std::string_view operation = cursor.field(':');
  if (operation == "setfs") {
    // All processes see this machine's files.
    result(reply, 0);
  } else if (operation == "open") {
    open(cursor.rest(), reply);
  } else if (operation == "close") {
    close(cursor.rest(), reply);
  } else if (operation == "pread") {
    read(cursor.rest(), reply);
  } else if (operation == "fstat") {
    status(cursor.rest(), reply);
  } else if (operation == "readlink") {
    read_link(cursor.rest(), reply);
  } else if (operation == "exists") {
    exists(cursor.rest(), reply);
  } else if (operation == "size") {
    size(cursor.rest(), reply);
  }
}

void FileService::open(std::string_view arguments, Reply& reply) {
  PacketCursor cursor(arguments);
  const auto path = decode_path(cursor.field(','));
  const auto flags = cursor.number();
  if (!path || !flags) return reply.error(PacketError::kMalformed);
  if (*flags != kReadOnly) return fail_with_errno(reply, EROFS);
  if (open_.size() >= kMaxOpenFiles) return fail_with_errno(reply, EMFILE);
  OpenFile file;
  const auto contents = embedded_(*path);
  if (contents) {
    file = *contents;
  } else {
    // Not blocking: a named pipe must not stop the session.
    FileDescriptor opened(::open(path->c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    if (!opened.is_open()) return fail_with_errno(reply, errno);
    file = std::move(opened);
  }
  uint64_t number = 0;
  while (open_.contains(number)) ++number;
  open_.emplace(number, std::move(file));
  result(reply, number);
}

void FileService::close(std::string_view arguments, Reply& reply) {
  const auto number = parse_number(arguments);
  if (!number) return reply.error(PacketError::kMalformed);
  if (open_.erase(*number) == 0) return fail_with_errno(reply, EBADF);
  result(reply, 0);
}

void FileService::read(std::string_view arguments, Reply& reply) {
  PacketCursor cursor(arguments);
  const auto number = cursor.number();
  if (!number || !cursor.accept(',')) return reply.error(PacketError::kMalformed);
  const auto count = cursor.number();
  if (!count || !cursor.accept(',')) return reply.error(PacketError::kMalformed);
  const auto offset = cursor.number();
  if (!offset || *offset > INT64_MAX) return reply.error(PacketError::kMalformed);
  OpenFile* file = find(*number);
  if (file == nullptr) return fail_with_errno(reply, EBADF);
  // Each byte may need two.
  const size_t wanted = std::min<size_t>(*count, kMaxPacketBytes / 2 - 32);
  if (const auto* contents = std::get_if<ByteView>(file)) {
    const size_t from = std::min<size_t>(*offset, contents->size());
    return result_with_data(reply,
                            contents->subspan(from, std::min(wanted, contents->size() - from)));
  }
  Bytes buffer(wanted);
  const ssize_t got = pread(std::get<FileDescriptor>(*file).get(), buffer.data(), wanted,
                            static_cast<off_t>(*offset));
  if (got < 0) return fail_with_errno(reply, errno);
  result_with_data(reply, ByteView(buffer).first(static_cast<size_t>(got)));
}

void FileService::status(std::string_view arguments, Reply& reply) {
  const auto number = parse_number(arguments);
  if (!number) return reply.error(PacketError::kMalformed);
  OpenFile* file = find(*number);
  if (file == nullptr) return fail_with_errno(reply, EBADF);
  struct stat found = {};
  if (const auto* contents = std::get_if<ByteView>(file)) {
    found.st_mode = S_IFREG | 0444;
    found.st_nlink = 1;
    found.st_size = static_cast<off_t>(contents->size());
  } else if (fstat(std::get<FileDescriptor>(*file).get(), &found) != 0) {
    return fail_with_errno(reply, errno);
  }
  result_with_data(reply, protocol_stat(found));
}

void FileService::read_link(std::string_view arguments, Reply& reply) {
  const auto path = decode_path(arguments);
  if (!path) return reply.error(PacketError::kMalformed);
  if (const auto known = embedded_link_(*path)) {
    return result_with_data(reply, bytes_of({known->data(), known->size()}));
  }
  char link[PATH_MAX];
  const ssize_t length = readlink(path->c_str(), link, sizeof(link));
  if (length < 0) return fail_with_errno(reply, errno);
  result_with_data(reply, bytes_of({link, static_cast<size_t>(length)}));
}

// lldb's own.
void FileService::exists(std::string_view arguments, Reply& reply) {
  const auto path = decode_path(arguments);
  if (!path) return reply.error(PacketError::kMalformed);
  const bool embedded = embedded_(*path).has_value();
  reply.text() = embedded || access(path->c_str(), F_OK) == 0 ? "F,1" : "F,0";
}

// lldb's own.
void FileService::size(std::string_view arguments, Reply& reply) {
  const auto path = decode_path(arguments);
  if (!path) return reply.error(PacketError::kMalformed);
  const auto contents = embedded_(*path);
  if (contents) return result(reply, contents->size());
  struct stat found = {};
  if (stat(path->c_str(), &found) != 0) return fail_with_errno(reply, errno);
  result(reply, static_cast<uint64_t>(found.st_size));
}

FileService::OpenFile* FileService::find(uint64_t number) {
  const auto found = open_.find(number);
  return found == open_.end() ? nullptr : &found->second;
}

}  // namespace rchk::protocol
