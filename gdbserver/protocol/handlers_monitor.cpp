#include <fmt/format.h>

#include "gdbserver/protocol/handlers.h"
#include "gdbserver/protocol/hex.h"
#include "gdbserver/protocol/run_control.h"
#include "gdbserver/target/words.h"

namespace rchk::protocol::handlers {
namespace {

using target::next_word;

constexpr std::string_view kHelp =
    "reverse-mode on|off        let every resume go back; an interrupt ends it\n"
    "arm backward               let the next resume go back\n"
    "arm range BEGIN END        let the next resume step back until pc is outside of the range\n"
    "arm refresh                let the next resume report the stop once more, and run nothing\n";

std::optional<GuestAddress> next_address(std::string_view& text) {
  std::string_view word = next_word(text);
  if (word.starts_with("0x")) word.remove_prefix(2);
  const auto number = parse_number(word);
  if (!number) return std::nullopt;
  return GuestAddress{*number};
}

std::optional<Armed> parse_armed(std::string_view arguments) {
  Armed armed;
  const std::string_view what = next_word(arguments);
  if (what == "range") {
    armed.kind = Armed::Kind::kRangeBack;
    const auto begin = next_address(arguments);
    const auto end = next_address(arguments);
    if (!begin || !end) return std::nullopt;
    armed.range = {*begin, *end};
  } else if (what == "refresh") {
    armed.kind = Armed::Kind::kRefresh;
  } else if (what != "backward") {
    return std::nullopt;
  }
  return armed;
}

// The session's own commands. Nothing: it is not one of them.
std::optional<std::string> own_command(ReverseControl& reverse, std::string_view command) {
  const std::string_view name = next_word(command);
  if (name == "reverse-mode") {
    const std::string_view wanted = next_word(command);
    if (wanted != "on" && wanted != "off") return "reverse-mode: on or off\n";
    reverse.mode = wanted == "on";
    return "";
  }
  if (name == "arm") {
    const std::optional<Armed> armed = parse_armed(command);
    if (!armed) return "arm: backward, range BEGIN END, or refresh\n";
    reverse.armed = armed;
    return "";
  }
  return std::nullopt;
}

}  // namespace

// `monitor COMMAND`, in hexadecimal.
void monitor(Context& context, std::string_view arguments, Reply& reply) {
  const auto command = decode_hex_text(arguments);
  if (!command) return reply.error(PacketError::kMalformed);
  context.moved_by_monitor = false;
  std::string text;
  target::Monitor* target_monitor = context.target().monitor();
  if (const auto own = own_command(context.reverse, *command)) {
    text = *own;
  } else if (target_monitor != nullptr) {
    context.progress.begin(ProgressReport::Wait::kMonitor);
    SessionRunControl control(context.stream);
    const Result<target::Monitor::Answer> answer =
        target_monitor->monitor_command(*command, control);
    text = answer ? answer->text : answer.error().message() + "\n";
    if (answer && answer->moved) {
      context.note_move();
    }
    if (*command == "help") text.append(kHelp);
  } else {
    text = *command == "help" ? std::string(kHelp) : fmt::format("unknown command: {}\n", *command);
  }
  // A debugger that is gone is found out about by the next read.
  (void)context.stream.send_console(text);
  reply.ok();
}

// Not of gdb's protocol, which has no way to say it: whether the last monitor command moved the
// program, and to a stop of which thread.
void thread_moved_to(Context& context, std::string_view, Reply& reply) {
  if (!context.moved_by_monitor) return reply.ok();
  reply.text() = "QC";
  context.append_thread_id(reply.text(), context.last_stop.thread);
}

}  // namespace rchk::protocol::handlers
