#include <fmt/format.h>

#include "gdbserver/protocol/handlers.h"
#include "gdbserver/protocol/hex.h"
#include "gdbserver/protocol/stop_reply.h"

namespace rchk::protocol::handlers {
namespace {

void append_json_string(std::string& out, std::string_view text) {
  out.push_back('"');
  for (const char symbol : text) {
    if (symbol == '"' || symbol == '\\') {
      out.push_back('\\');
      out.push_back(symbol);
    } else if (static_cast<unsigned char>(symbol) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(symbol));
    } else {
      out.push_back(symbol);
    }
  }
  out.push_back('"');
}

void append_json_registers(Context& context, Tid thread, std::string& out) {
  const Result<Registers> general = context.target().read_registers(thread);
  if (!general) return;
  const RegisterValues values{*general, {}};
  out += ",\"registers\":{";
  const char* separator = "";
  for (const RegisterNumber number : kExpedited) {
    out += fmt::format("{}\"{}\":\"", separator, number.value);
    context.registers.append_value(out, *context.registers.find(number), values);
    out.push_back('"');
    separator = ",";
  }
  out.push_back('}');
}

}  // namespace

// `op thread-id`: g chooses for registers and memory, c for resuming.
void select_thread(Context& context, std::string_view arguments, Reply& reply) {
  PacketCursor cursor(arguments);
  const bool general = cursor.accept('g');
  if (!general && !cursor.accept('c')) return reply.error(PacketError::kMalformed);
  const auto id = parse_thread_id(cursor.rest());
  if (!id) return reply.error(PacketError::kMalformed);
  const std::optional<Tid> one = id->single();
  const Tid process = context.processes.process_of(*id);
  const bool is_there = one ? context.processes.has_thread(process, *one)
                            : id->pid <= 0 || context.processes.has(process);
  if (!is_there) return reply.error(PacketError::kNoThread);
  if (general) {
    context.select_process(*id);
    context.general_thread = context.meant_thread = one.value_or(Tid{});
  } else {
    // Without a process: all of them, unless it is one thread.
    context.resume_thread = {one || id->pid > 0 ? process : Tid{}, one.value_or(Tid{})};
  }
  reply.ok();
}

void thread_alive(Context& context, std::string_view arguments, Reply& reply) {
  const auto id = parse_thread_id(arguments);
  if (!id) return reply.error(PacketError::kMalformed);
  const std::optional<Tid> one = id->single();
  const Tid process = context.processes.process_of(*id);
  if (!one || !context.processes.has_thread(process, *one)) {
    return reply.error(PacketError::kNoThread);
  }
  if (context.processes.process_of(*id) == context.processes.current()) context.meant_thread = *one;
  reply.ok();
}

void current_thread(Context& context, std::string_view, Reply& reply) {
  if (context.waits_for_restart) return reply.error(PacketError::kNoThread);
  reply.text() = "QC";
  context.append_thread_id(reply.text(), context.thread_for(std::nullopt));
}

void first_threads(Context& context, std::string_view, Reply& reply) {
  std::string& out = reply.text();
  if (context.waits_for_restart) {
    out = "l";
    return;
  }
  char separator = 'm';
  for (const Tid process : context.processes.all()) {
    for (const target::ThreadInfo& thread : context.processes.threads(process)) {
      out.push_back(separator);
      context.append_thread_id(out, process, thread.tid);
      separator = ',';
    }
  }
}

void more_threads(Context&, std::string_view, Reply& reply) { reply.text() = "l"; }

void thread_extra_info(Context& context, std::string_view arguments, Reply& reply) {
  const auto id = parse_thread_id(arguments);
  if (!id) return reply.error(PacketError::kMalformed);
  const Tid process = context.processes.process_of(*id);
  if (!context.processes.has(process)) return reply.error(PacketError::kNoThread);
  for (const target::ThreadInfo& thread : context.processes.threads(process)) {
    if (id->single() == thread.tid) {
      return append_hex(reply.text(), thread.name.empty() ? "thread" : thread.name);
    }
  }
  reply.error(PacketError::kNoThread);
}

// lldb: the stop reply of one thread. Only one of them has a reason.
void thread_stop_info(Context& context, std::string_view arguments, Reply& reply) {
  const auto id = parse_thread_id(arguments);
  if (!id) return reply.error(PacketError::kMalformed);
  const std::optional<Tid> thread = id->single();
  if (!thread || !context.has_thread(*thread)) return reply.error(PacketError::kNoThread);
  if (*thread == context.last_stop.thread) {
    return append_stop_reply(context, context.last_stop, reply.text());
  }
  reply.text() = "T00thread:";
  context.append_thread_id(reply.text(), *thread);
  reply.text().push_back(';');
  append_thread_name(context, *thread, reply.text());
}

// lldb: all threads at once, in JSON.
void threads_info(Context& context, std::string_view, Reply& reply) {
  std::string json = "[";
  for (const target::ThreadInfo& thread : context.target().threads()) {
    if (json.size() > 1) json.push_back(',');
    const bool stopped = thread.tid == context.last_stop.thread;
    const int signal = stopped ? context.signal_number(signal_of(context.last_stop.event)) : 0;
    json += fmt::format("{{\"tid\":{},\"signal\":{},\"reason\":\"{}\"", thread.tid.value, signal,
                        stopped ? reason_of(context.last_stop.event) : "none");
    const std::string what = stopped ? description_of(context.last_stop.event) : "";
    if (!what.empty()) json += fmt::format(",\"description\":\"{}\"", what);
    if (!thread.name.empty()) {
      json += ",\"name\":";
      append_json_string(json, thread.name);
    }
    append_json_registers(context, thread.tid, json);
    json.push_back('}');
  }
  json.push_back(']');
  append_escaped(reply.binary(), bytes_of(json));
}

// `thread-id,offset,link-map`: where a thread-local variable is.
void thread_local_address(Context& context, std::string_view arguments, Reply& reply) {
  PacketCursor cursor(arguments);
  const auto id = parse_thread_id(cursor.field(','));
  const auto offset = cursor.number();
  if (!id || !id->single() || !offset || !cursor.accept(',')) {
    return reply.error(PacketError::kMalformed);
  }
  const auto link_map = cursor.number();
  if (!link_map) return reply.error(PacketError::kMalformed);
  if (!context.select_process(*id)) return reply.error(PacketError::kNoThread);
  const ThreadLocals& thread_locals = context.thread_locals[context.processes.current()];
  const auto address =
      thread_locals.address(context.target(), *id->single(), *offset, GuestAddress{*link_map});
  if (!address) return reply.error(PacketError::kFailed);
  append_number(reply.text(), address->value);
}

// `[pid]`: a process that was made by one that rchk started is one of its own, too.
void attached(Context& context, std::string_view, Reply& reply) {
  reply.text() = context.target().was_attached() ? "1" : "0";
}

}  // namespace rchk::protocol::handlers
