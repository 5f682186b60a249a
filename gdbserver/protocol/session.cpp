#include "gdbserver/protocol/session.h"

#include <algorithm>
#include <string_view>

#include "gdbserver/protocol/handlers.h"
#include "gdbserver/protocol/reply.h"

namespace rchk::protocol {
namespace {

using Handler = void (*)(Context&, std::string_view, Reply&);

struct PacketEntry {
  std::string_view name;
  Handler handler;
};

constexpr PacketEntry kPackets[] = {
#define RCHK_PACKET(name, handler) {name, &handlers::handler},
#include "gdbserver/protocol/packets.def"
#undef RCHK_PACKET
};

struct Dispatched {
  Handler handler = nullptr;
  std::string_view arguments;
};

// True for packets whose name is longer than one letter.
bool has_long_name(std::string_view packet) {
  constexpr std::string_view kFamilies = "qQvj_";
  return kFamilies.find(packet.front()) != std::string_view::npos || packet == "bc" ||
         packet == "bs";
}

// Finds who answers `packet`, which is not empty.
Dispatched dispatch(std::string_view packet) {
  std::string_view name = packet.substr(0, 1);
  std::string_view arguments = packet.substr(1);
  if (packet.front() == '_') {
    name = packet.substr(0, 2);
    arguments = packet.substr(name.size());
  } else if (has_long_name(packet)) {
    name = packet.substr(0, packet.find_first_of(":;,"));
    arguments = packet.substr(std::min(name.size() + 1, packet.size()));
  }
  for (const PacketEntry& entry : kPackets) {
    if (entry.name == name) return {entry.handler, arguments};
    if (entry.name.back() != '*') continue;
    const std::string_view prefix = entry.name.substr(0, entry.name.size() - 1);
    if (packet.starts_with(prefix)) return {entry.handler, packet.substr(prefix.size())};
  }
  return {};
}

}  // namespace

Session::Session(target::Target& target, Transport& transport, SessionOptions options)
    : stream_(transport, std::move(options.log)),
      context_(target, stream_),
      progress_(options.progress) {
  context_.last_stop = context_.current_stop();
  if (progress_ == nullptr) return;
  progress_->set_listener([this](const Progress::Words& words) { context_.progress.tell(words); });
}

Session::~Session() {
  if (progress_ != nullptr) progress_->set_listener({});
}

Result<SessionEnd> Session::run() {
  Reply reply;
  while (!context_.end) {
    RCHK_TRY_ASSIGN(const Received received, stream_.receive());
    reply.clear();
    switch (received) {
      case Received::kClosed:
        if (!context_.waits_for_restart) return SessionEnd::kDisconnected;
        // The debugger killed the program, and did not run it again.
        (void)context_.processes.first().kill();
        return SessionEnd::kKilled;
      case Received::kDamaged:
        reply.error(PacketError::kMalformed);
        break;
      case Received::kPacket:
        context_.progress.begin(ProgressReport::Wait::kAnswer);
        answer(stream_.contents(), reply);
        break;
    }
    if (!reply.suppressed()) RCHK_TRY(stream_.send(reply.contents(), reply.encoding()));
  }
  return *context_.end;
}

void Session::answer(std::string_view packet, Reply& reply) {
  if (packet.empty()) return;
  const Dispatched found = dispatch(packet);
  if (found.handler != nullptr) found.handler(context_, found.arguments, reply);
}

}  // namespace rchk::protocol
