#include "gdbserver/protocol/handlers.h"
#include "gdbserver/protocol/hex.h"

namespace rchk::protocol::handlers {
namespace {

// The thread that a register packet is about; cuts the suffix that says so.
std::optional<Tid> take_thread(Context& context, std::string_view& arguments, Reply& reply) {
  std::optional<ThreadId> suffix;
  if (!take_thread_suffix(arguments, suffix)) {
    reply.error(PacketError::kMalformed);
    return std::nullopt;
  }
  // lldb reads registers at every stop that a user sees: it is not sending a packet in between.
  context.reverse.interrupted_backward = false;
  return context.thread_for(suffix);
}

// Writes back what differs.
Result<void> write_values(Context& context, Tid thread, const RegisterValues& before,
                          const RegisterValues& after) {
  if (before.general != after.general) {
    RCHK_TRY(context.target().write_registers(thread, after.general));
  }
  if (before.extended != after.extended) {
    RCHK_TRY(context.target().write_extended_state(thread, after.extended));
  }
  return {};
}

void report(const Result<void>& result, Reply& reply) {
  if (result) {
    reply.ok();
  } else {
    reply.error(PacketError::kFailed);
  }
}

}  // namespace

void read_registers(Context& context, std::string_view arguments, Reply& reply) {
  const auto thread = take_thread(context, arguments, reply);
  if (!thread) return;
  const Result<RegisterValues> values = context.read_values(*thread);
  if (!values) return reply.error(PacketError::kFailed);
  context.registers.append_all(reply.text(), *values);
}

void write_registers(Context& context, std::string_view arguments, Reply& reply) {
  const auto thread = take_thread(context, arguments, reply);
  if (!thread) return;
  const Result<RegisterValues> before = context.read_values(*thread);
  if (!before) return reply.error(PacketError::kFailed);
  RegisterValues after = *before;
  if (!context.registers.write_all(arguments, after)) return reply.error(PacketError::kMalformed);
  report(write_values(context, *thread, *before, after), reply);
}

void read_register(Context& context, std::string_view arguments, Reply& reply) {
  const auto thread = take_thread(context, arguments, reply);
  if (!thread) return;
  const auto number = parse_number(arguments);
  if (!number || *number > UINT32_MAX) return reply.error(PacketError::kMalformed);
  const RegisterDescription* which =
      context.registers.find(RegisterNumber{static_cast<uint32_t>(*number)});
  if (which == nullptr) return reply.error(PacketError::kMalformed);
  RegisterValues values;
  const Result<Registers> general = context.target().read_registers(*thread);
  if (!general) return reply.error(PacketError::kFailed);
  values.general = *general;
  if (which->home != RegisterHome::kGeneral) {
    Result<ExtendedState> extended = context.target().read_extended_state(*thread);
    if (!extended) return reply.error(PacketError::kFailed);
    values.extended = std::move(*extended);
  }
  context.registers.append_value(reply.text(), *which, values);
}

void write_register(Context& context, std::string_view arguments, Reply& reply) {
  const auto thread = take_thread(context, arguments, reply);
  if (!thread) return;
  PacketCursor cursor(arguments);
  const auto number = cursor.number();
  if (!number || *number > UINT32_MAX || !cursor.accept('=')) {
    return reply.error(PacketError::kMalformed);
  }
  const RegisterDescription* which =
      context.registers.find(RegisterNumber{static_cast<uint32_t>(*number)});
  const auto bytes = decode_hex(cursor.rest());
  if (which == nullptr || !bytes) return reply.error(PacketError::kMalformed);
  const Result<RegisterValues> before = context.read_values(*thread);
  if (!before) return reply.error(PacketError::kFailed);
  RegisterValues after = *before;
  if (!context.registers.write(*which, *bytes, after)) {
    return reply.error(PacketError::kMalformed);
  }
  report(write_values(context, *thread, *before, after), reply);
}

// lldb: around a function that it calls.
void save_registers(Context& context, std::string_view arguments, Reply& reply) {
  const auto thread = take_thread(context, arguments, reply);
  if (!thread) return;
  Result<RegisterValues> values = context.read_values(*thread);
  if (!values) return reply.error(PacketError::kFailed);
  const uint64_t id = context.next_saved++;
  context.saved_registers.emplace(id, std::move(*values));
  // lldb reads this number as a decimal one.
  reply.text() = std::to_string(id);
}

void restore_registers(Context& context, std::string_view arguments, Reply& reply) {
  const auto thread = take_thread(context, arguments, reply);
  if (!thread) return;
  uint64_t id = 0;
  for (const char digit : arguments) {
    if (digit < '0' || digit > '9' || id > UINT32_MAX) {
      return reply.error(PacketError::kMalformed);
    }
    id = 10 * id + static_cast<uint64_t>(digit - '0');
  }
  const auto saved = context.saved_registers.extract(id);
  if (saved.empty()) return reply.error(PacketError::kMalformed);
  const Result<RegisterValues> before = context.read_values(*thread);
  if (!before) return reply.error(PacketError::kFailed);
  report(write_values(context, *thread, *before, saved.mapped()), reply);
}

}  // namespace rchk::protocol::handlers
