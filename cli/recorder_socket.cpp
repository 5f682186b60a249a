#include "cli/recorder_socket.h"

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <sstream>

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/record/process.h"

namespace rchk::cli {

namespace {

constexpr std::string_view kPrefix = "rchk/record/";
constexpr size_t kLongestText = 1 << 16;

struct Address {
  sockaddr_un name{};
  socklen_t size = 0;
  const sockaddr* generic() const { return reinterpret_cast<const sockaddr*>(&name); }
};

Address address_of(const std::string& socket) {
  Address address;
  address.name.sun_family = AF_UNIX;
  const size_t length = std::min(socket.size(), sizeof address.name.sun_path - 1);
  std::memcpy(address.name.sun_path + 1, socket.data(), length);  // behind a zero
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  return address;
}

FileDescriptor new_socket() {
  return FileDescriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

// Whether to wait as long as it takes for what is asked.
enum class Patience : uint8_t { kUnlimited, kShort };

Result<FileDescriptor> connect_to(const std::string& name, Patience patience) {
  FileDescriptor peer = new_socket();
  if (peer.is_open() && patience == Patience::kShort) {
    const timeval longest{2, 0};
    for (const int option : {SO_SNDTIMEO, SO_RCVTIMEO}) {
      if (setsockopt(peer.get(), SOL_SOCKET, option, &longest, sizeof longest) != 0) {
        return fail_errno("asking a recorder");
      }
    }
  }
  const Address address = address_of(name);
  if (!peer.is_open() || connect(peer.get(), address.generic(), address.size) != 0) {
    return fail_errno("asking a recorder");
  }
  return peer;
}

Result<std::string> exchange(const FileDescriptor& peer, std::string_view request) {
  RCHK_TRY(send_all(peer, request));
  return receive_all(peer);
}

// The 22nd field of /proc/PID/stat (proc(5)).
uint64_t start_time(int32_t pid) {
  constexpr int kFieldsBetween = 19;
  std::istringstream fields(record::stat_fields(pid));
  std::string skipped;
  for (int i = 0; i < kFieldsBetween; ++i) fields >> skipped;
  uint64_t started = 0;
  fields >> started;
  return started;
}

}  // namespace

Result<FileDescriptor> listen_as_recorder() {
  FileDescriptor listener = new_socket();
  const Address address = address_of(fmt::format("{}{}", kPrefix, getpid()));
  constexpr int kWaiting = 8;
  if (!listener.is_open() || bind(listener.get(), address.generic(), address.size) != 0 ||
      listen(listener.get(), kWaiting) != 0) {
    return fail_errno("a socket to be asked at");
  }
  return listener;
}

std::vector<RunningRecorder> running_recorders() {
  std::vector<RunningRecorder> found;
  std::ifstream sockets("/proc/net/unix");
  const std::string mark = fmt::format("@{}", kPrefix);
  for (std::string line; std::getline(sockets, line);) {
    const size_t at = line.rfind(" @");
    if (at == std::string::npos || line.compare(at + 1, mark.size(), mark) != 0) continue;
    RunningRecorder recorder;
    recorder.socket = line.substr(at + 2);
    const auto peer = connect_to(recorder.socket, Patience::kShort);
    if (!peer) continue;
    ucred credentials{};
    socklen_t size = sizeof credentials;
    if (getsockopt(peer->get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) continue;
    // Whoever else listens there is not to be believed.
    if (credentials.uid != geteuid() && credentials.uid != 0 && geteuid() != 0) continue;
    recorder.pid = credentials.pid;
    const auto answer = exchange(*peer, "path");
    if (!answer && answer.error().errno_value == EAGAIN) {
      recorder.answers = false;
      found.push_back(std::move(recorder));
    }
    if (!answer) continue;
    const char* const end = answer->data() + answer->size();
    const auto parsed = std::from_chars(answer->data(), end, recorder.guest);
    if (parsed.ec != std::errc() || parsed.ptr == end || *parsed.ptr != ' ') continue;
    recorder.recording.assign(parsed.ptr + 1, end);
    recorder.started = start_time(recorder.pid);
    found.push_back(std::move(recorder));
  }
  return found;
}

Result<std::string> ask_recorder(const std::string& socket, std::string_view request) {
  RCHK_TRY_ASSIGN(const FileDescriptor peer, connect_to(socket, Patience::kUnlimited));
  return exchange(peer, request);
}

Result<std::string> receive_all(const FileDescriptor& peer) {
  std::string text;
  char bytes[4096];
  while (text.size() < kLongestText) {
    const ssize_t got = recv(peer.get(), bytes, sizeof bytes, 0);
    if (got == 0) return text;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("asking a recorder");
    text.append(bytes, static_cast<size_t>(got));
  }
  return fail(ErrorKind::kMisuse, "a request that is too long");
}

Result<void> send_all(const FileDescriptor& peer, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = send(peer.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail_errno("asking a recorder");
    text.remove_prefix(static_cast<size_t>(put));
  }
  if (shutdown(peer.get(), SHUT_WR) != 0) return fail_errno("asking a recorder");
  return {};
}

}  // namespace rchk::cli
