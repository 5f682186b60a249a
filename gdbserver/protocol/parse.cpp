#include "gdbserver/protocol/parse.h"

#include <limits>

#include "gdbserver/protocol/agent_expression.h"
#include "gdbserver/protocol/hex.h"

namespace rchk::protocol {
namespace {

std::optional<int32_t> take_id(PacketCursor& cursor) {
  if (cursor.accept("-1")) return ThreadId::kAll;
  const auto number = cursor.number();
  if (!number || *number > std::numeric_limits<int32_t>::max()) return std::nullopt;
  return static_cast<int32_t>(*number);
}

// `addr,length` at the cursor.
std::optional<AddressRange> take_range(PacketCursor& cursor) {
  const auto address = cursor.address();
  if (!address || !cursor.accept(',')) return std::nullopt;
  const auto length = cursor.number();
  if (!length || address->value + *length < address->value) return std::nullopt;
  return range_of(*address, *length);
}

std::optional<target::Condition> take_condition(PacketCursor& cursor) {
  const auto length = cursor.number();
  if (!length || !cursor.accept(',')) return std::nullopt;
  const std::string_view digits = cursor.rest();
  if (*length > digits.size() / 2) return std::nullopt;
  auto bytecode = decode_hex(digits.substr(0, 2 * *length));
  if (!bytecode) return std::nullopt;
  cursor = PacketCursor(digits.substr(2 * *length));
  return condition_of(std::move(*bytecode));
}

std::optional<int> take_signal(PacketCursor& cursor) {
  const auto number = cursor.number();
  if (!number || *number > 0xff) return std::nullopt;
  return static_cast<int>(*number);
}

std::optional<ResumeAction> parse_action(std::string_view text) {
  using Kind = ResumeAction::Kind;
  PacketCursor cursor(text);
  ResumeAction action;
  if (cursor.accept('c')) {
    action.kind = Kind::kContinue;
  } else if (cursor.accept('s')) {
    action.kind = Kind::kStep;
  } else if (cursor.accept('t')) {
    action.kind = Kind::kStop;
  } else if (cursor.accept('r')) {
    action.kind = Kind::kRangeStep;
    const auto begin = cursor.address();
    if (!begin || !cursor.accept(',')) return std::nullopt;
    const auto end = cursor.address();
    if (!end) return std::nullopt;
    action.range = {*begin, *end};
  } else {
    const bool continues = cursor.accept('C');
    if (!continues && !cursor.accept('S')) return std::nullopt;
    action.kind = continues ? Kind::kContinue : Kind::kStep;
    const auto signal = take_signal(cursor);
    if (!signal) return std::nullopt;
    action.signal = *signal;
  }
  if (cursor.accept(':')) {
    const auto thread = parse_thread_id(cursor.rest());
    if (!thread) return std::nullopt;
    action.thread = *thread;
  } else if (!cursor.at_end()) {
    return std::nullopt;
  }
  return action;
}

}  // namespace

std::optional<ThreadId> parse_thread_id(std::string_view text) {
  PacketCursor cursor(text);
  ThreadId id;
  if (cursor.accept('p')) {
    const auto pid = take_id(cursor);
    if (!pid) return std::nullopt;
    id.pid = *pid;
    if (cursor.at_end()) return ThreadId{*pid, ThreadId::kAll};
    if (!cursor.accept('.')) return std::nullopt;
  }
  const auto tid = take_id(cursor);
  if (!tid || !cursor.at_end()) return std::nullopt;
  id.tid = *tid;
  return id;
}

std::optional<AddressRange> parse_memory_range(std::string_view text) {
  PacketCursor cursor(text);
  const auto range = take_range(cursor);
  return cursor.at_end() ? range : std::nullopt;
}

std::optional<MemoryContents> parse_hex_contents(std::string_view text) {
  PacketCursor cursor(text);
  const auto range = take_range(cursor);
  if (!range || !cursor.accept(':')) return std::nullopt;
  auto bytes = decode_hex(cursor.rest());
  if (!bytes || bytes->size() != range->size()) return std::nullopt;
  return MemoryContents{range->begin, std::move(*bytes)};
}

std::optional<MemoryContents> parse_binary_contents(std::string_view text) {
  PacketCursor cursor(text);
  const auto range = take_range(cursor);
  if (!range || !cursor.accept(':')) return std::nullopt;
  const ByteView data = bytes_of(cursor.rest());
  if (data.size() != range->size()) return std::nullopt;
  return MemoryContents{range->begin, Bytes(data.begin(), data.end())};
}

std::optional<StopPointPacket> parse_stop_point(std::string_view text) {
  PacketCursor cursor(text);
  const auto type = cursor.number();
  if (!type || !cursor.accept(',')) return std::nullopt;
  const auto range = take_range(cursor);
  if (!range) return std::nullopt;
  StopPointPacket packet;
  packet.known_type = *type <= static_cast<uint64_t>(target::StopPointKind::kAccessWatchpoint);
  if (!packet.known_type) return packet;
  // The types are numbered like the kinds.
  packet.point.kind = static_cast<target::StopPointKind>(*type);
  // What gdb calls the kind of a breakpoint is the length of its instruction elsewhere.
  packet.point.range = is_breakpoint(packet.point.kind) ? range_of(range->begin, 1) : *range;
  if (packet.point.range.empty()) return std::nullopt;
  while (!cursor.at_end()) {
    cursor.accept(';');
    if (!cursor.accept('X')) return std::nullopt;
    auto condition = take_condition(cursor);
    if (!condition) return std::nullopt;
    packet.point.conditions.push_back(std::move(*condition));
  }
  return packet;
}

std::optional<std::vector<ResumeAction>> parse_resume_actions(std::string_view text) {
  std::vector<ResumeAction> actions;
  PacketCursor cursor(text);
  while (!cursor.at_end()) {
    const auto action = parse_action(cursor.field(';'));
    if (!action) return std::nullopt;
    actions.push_back(*action);
  }
  if (actions.empty()) return std::nullopt;
  return actions;
}

std::optional<ResumeArguments> parse_resume_arguments(std::string_view text, bool with_signal) {
  PacketCursor cursor(text);
  ResumeArguments arguments;
  if (with_signal) {
    const auto signal = take_signal(cursor);
    if (!signal) return std::nullopt;
    arguments.signal = *signal;
    if (!cursor.at_end() && !cursor.accept(';')) return std::nullopt;
  }
  if (cursor.at_end()) return arguments;
  arguments.address = cursor.address();
  return arguments.address && cursor.at_end() ? std::optional(arguments) : std::nullopt;
}

std::optional<Transfer> parse_transfer(std::string_view text) {
  PacketCursor cursor(text);
  Transfer transfer;
  transfer.object = cursor.field(':');
  const std::string_view operation = cursor.field(':');
  transfer.annex = cursor.field(':');
  const auto offset = cursor.number();
  if (!offset) return std::nullopt;
  transfer.offset = *offset;
  if (operation == "write") {
    transfer.write = true;
    if (!cursor.accept(':')) return std::nullopt;
    transfer.data = cursor.rest();
    return transfer;
  }
  if (operation != "read" || !cursor.accept(',')) return std::nullopt;
  const auto length = cursor.number();
  if (!length || !cursor.at_end()) return std::nullopt;
  transfer.length = *length;
  return transfer;
}

bool take_thread_suffix(std::string_view& text, std::optional<ThreadId>& thread) {
  constexpr std::string_view kMark = ";thread:";
  const size_t at = text.find(kMark);
  if (at == std::string_view::npos) {
    if (text.starts_with(kMark.substr(1))) {
      // The packet's name ended at the semicolon.
      thread = parse_thread_id(PacketCursor(text.substr(kMark.size() - 1)).field(';'));
      text = {};
      return thread.has_value();
    }
    return true;
  }
  thread = parse_thread_id(PacketCursor(text.substr(at + kMark.size())).field(';'));
  text = text.substr(0, at);
  return thread.has_value();
}

}  // namespace rchk::protocol
