#include <array>

#include <fmt/format.h>
#include <unistd.h>

#include "gdbserver/protocol/handlers.h"
#include "gdbserver/protocol/hex.h"

namespace rchk::protocol::handlers {
namespace {

constexpr std::string_view kTriple = "x86_64-unknown-linux-gnu";

void note_client_features(Client& client, std::string_view arguments) {
  PacketCursor cursor(arguments);
  while (!cursor.at_end()) {
    const std::string_view feature = cursor.field(';');
    if (feature == "multiprocess+") client.multiprocess = true;
    if (feature == "swbreak+") client.software_breaks = true;
    if (feature == "hwbreak+") client.hardware_breaks = true;
    if (feature == "exec-events+") client.exec_events = true;
    if (feature == "fork-events+") client.fork_events = true;
    if (feature == "vfork-events+") client.vfork_events = true;
  }
}

}  // namespace

// Offers what the target can do, and nothing else.
void supported(Context& context, std::string_view arguments, Reply& reply) {
  note_client_features(context.client, arguments);
  target::Target& target = context.target();
  std::string& out = reply.text();
  out = fmt::format(
      "PacketSize={:x};QStartNoAckMode+;multiprocess+;swbreak+;hwbreak+;vContSupported+;"
      "ConditionalBreakpoints+;QProgramSignals+;binary-upload+;qXfer:features:read+;"
      "qXfer:threads:read+",
      kMaxPacketBytes);
  const auto offer = [&out](bool wanted, std::string_view feature) {
    if (!wanted) return;
    out.push_back(';');
    out.append(feature);
  };
  offer(target.can_go_back(), "ReverseStep+;ReverseContinue+");
  offer(target.auxiliary_vector() != nullptr, "qXfer:auxv:read+");
  offer(target.executable_file() != nullptr, "qXfer:exec-file:read+");
  offer(target.siginfo() != nullptr, "qXfer:siginfo:read+;qXfer:siginfo:write+");
  offer(target.libraries() != nullptr, "qXfer:libraries-svr4:read+");
  offer(target.signal_policy() != nullptr, "QPassSignals+");
  offer(target.syscall_catching() != nullptr, "QCatchSyscalls+");
  offer(context.client.exec_events, "exec-events+");
  // Which of the two processes a packet means, only thread-ids with pids can say. What a child
  // executes has to be told as well: lldb 22, which has other ways with forks, does not ask for it.
  target::Family* const family = context.processes.family();
  const bool forks = family != nullptr && context.client.multiprocess && context.client.exec_events;
  offer(forks && context.client.fork_events, "fork-events+");
  offer(forks && context.client.vfork_events, "vfork-events+");
  if (forks) family->report_forks(context.client.fork_events, context.client.vfork_events);
}

void start_no_ack_mode(Context& context, std::string_view, Reply& reply) {
  context.stream.stop_acknowledging();
  reply.ok();
}

void thread_suffix(Context& context, std::string_view, Reply& reply) {
  context.client.thread_suffix = true;
  context.progress.set_keeps_waiting(false);
  if (context.processes.family() != nullptr) {
    context.processes.family()->report_forks(false, false);
  }
  reply.ok();
}

void list_threads_in_stop_reply(Context& context, std::string_view, Reply& reply) {
  context.client.threads_in_stop_reply = true;
  reply.ok();
}

void host_info(Context&, std::string_view, Reply& reply) {
  reply.text() = fmt::format(
      "triple:{};ptrsize:8;endian:little;ostype:linux;watchpoint_exceptions_received:after;"
      "vm-page-size:4096;",
      hex_of(kTriple));
  std::array<char, 256> name = {};
  if (gethostname(name.data(), name.size() - 1) == 0) {
    reply.text() += fmt::format("hostname:{};", hex_of(name.data()));
  }
}

void process_info(Context& context, std::string_view, Reply& reply) {
  reply.text() = fmt::format("pid:{:x};ptrsize:8;endian:little;ostype:linux;triple:{};",
                             context.target().process().value, hex_of(kTriple));
}

void server_version(Context&, std::string_view, Reply& reply) {
  reply.text() = "name:rchk;version:0.1;";
}

// gdb offers to look symbols up (`:`), or answers (`ADDRESS:NAME`, without an address if there is
// no such symbol).
void symbol(Context& context, std::string_view arguments, Reply& reply) {
  PacketCursor cursor(arguments);
  const std::string_view digits = cursor.field(':');
  const auto name = decode_hex_text(cursor.rest());
  if (!name) return reply.error(PacketError::kMalformed);
  ThreadLocals& thread_locals = context.thread_locals[context.processes.current()];
  if (name->empty()) {
    thread_locals.begin();
  } else {
    const auto number = parse_number(digits);
    if (!digits.empty() && !number) return reply.error(PacketError::kMalformed);
    thread_locals.found(*name,
                        digits.empty() ? std::nullopt : std::optional(GuestAddress{*number}));
  }
  const std::string_view next = thread_locals.next_symbol();
  if (next.empty()) return reply.ok();
  reply.text() = "qSymbol:" + hex_of(next);
}

void file(Context& context, std::string_view arguments, Reply& reply) {
  context.files.handle(arguments, reply);
}

}  // namespace rchk::protocol::handlers
