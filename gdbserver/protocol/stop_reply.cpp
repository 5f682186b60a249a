#include "gdbserver/protocol/stop_reply.h"

#include <csignal>
#include <cstring>

#include <fmt/format.h>

#include "gdbserver/protocol/hex.h"

namespace rchk::protocol {
namespace {

template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

void append_key(std::string& out, std::string_view key, std::string_view value = {}) {
  out.append(key);
  out.push_back(':');
  out.append(value);
  out.push_back(';');
}

std::string_view watch_key(target::StopPointKind kind) {
  switch (kind) {
    case target::StopPointKind::kReadWatchpoint:
      return "rwatch";
    case target::StopPointKind::kAccessWatchpoint:
      return "awatch";
    case target::StopPointKind::kSoftwareBreakpoint:
    case target::StopPointKind::kHardwareBreakpoint:
    case target::StopPointKind::kWriteWatchpoint:
      return "watch";
  }
  return "watch";
}

// The end of history. A debugger without a word for it (lldb before 22, in reverse mode) is shown
// an exception: with a reason that it does not know and an unchanged pc it would resume forever.
void append_history(const Context& context, std::string_view which, std::string& out) {
  if (context.client.thread_suffix && context.reverse.unknown_to_debugger) {
    append_key(out, "reason", "exception");
    append_key(out, "description", hex_of(fmt::format("{} of the recorded history", which)));
    return;
  }
  append_key(out, "replaylog", which);
}

void append_description(std::string_view description, std::string& out) {
  append_key(out, "reason", "exception");
  append_key(out, "description", hex_of(description));
}

// What tells this event from an ordinary signal. `reason` keys are for lldb alone.
void append_event(const Context& context, const target::StopEvent& event, std::string& out) {
  const Client& client = context.client;
  const bool reasons = client.thread_suffix;
  std::visit(Overloaded{
                 [&](const target::BreakpointHit& hit) {
                   const bool hardware = hit.kind == target::StopPointKind::kHardwareBreakpoint;
                   if (hardware ? client.hardware_breaks : client.software_breaks) {
                     append_key(out, hardware ? "hwbreak" : "swbreak");
                   }
                   if (reasons) append_key(out, "reason", "breakpoint");
                 },
                 [&](const target::WatchpointHit& hit) {
                   append_key(out, watch_key(hit.kind), fmt::format("{:x}", hit.address.value));
                 },
                 [&](const target::StepDone&) {
                   if (reasons) append_key(out, "reason", "trace");
                 },
                 [&](const target::HistoryBegin&) { append_history(context, "begin", out); },
                 [&](const target::HistoryEnd&) { append_history(context, "end", out); },
                 [&](const target::Exiting&) { append_history(context, "end", out); },
                 [&](const target::SignalStop& stop) {
                   if (!reasons) return;
                   const std::string description = description_of(stop);
                   if (description.empty()) return append_key(out, "reason", "signal");
                   append_description(description, out);
                 },
                 [&](const target::Interrupted&) {
                   if (reasons) append_key(out, "reason", "signal");
                 },
                 [&](const target::SyscallStop& stop) {
                   append_key(out, stop.is_return ? "syscall_return" : "syscall_entry",
                              fmt::format("{:x}", stop.number));
                 },
                 [&](const target::Exec& exec) {
                   if (client.exec_events) append_key(out, "exec", hex_of(exec.path));
                 },
                 [&](const target::Forked& forked) {
                   std::string child;
                   context.append_thread_id(child, forked.child, forked.child);
                   append_key(out, forked.vfork ? "vfork" : "fork", child);
                 },
                 [&](const target::VforkDone&) { append_key(out, "vforkdone"); },
                 [&](const target::Unsupported& unsupported) {
                   if (reasons) append_description(unsupported.reason, out);
                 },
                 [](const target::Exited&) {},
             },
             event);
}

void append_threads(Context& context, std::string& out) {
  std::string tids, pcs;
  for (const target::ThreadInfo& thread : context.target().threads()) {
    if (!tids.empty()) {
      tids.push_back(',');
      pcs.push_back(',');
    }
    append_number(tids, static_cast<uint64_t>(thread.tid.value));
    const Result<Registers> registers = context.target().read_registers(thread.tid);
    append_number(pcs, registers ? registers->rip : 0);
  }
  append_key(out, "threads", tids);
  append_key(out, "thread-pcs", pcs);
}

void append_expedited(const Context& context, const Registers& general, std::string& out) {
  // The extended state is not needed for these.
  const RegisterValues values{general, {}};
  for (const RegisterNumber number : kExpedited) {
    const auto digits = static_cast<uint8_t>(number.value);
    append_hex(out, ByteView(&digits, 1));
    out.push_back(':');
    context.registers.append_value(out, *context.registers.find(number), values);
    out.push_back(';');
  }
}

void append_exited(Context& context, const target::Exited& exited, std::string& out) {
  const auto number = static_cast<uint8_t>(exited.signal != 0 ? context.signal_number(exited.signal)
                                                              : exited.status);
  out.push_back(exited.signal != 0 ? 'X' : 'W');
  append_hex(out, ByteView(&number, 1));
  if (!context.client.multiprocess) return;
  out.append(";process:");
  append_number(out, static_cast<uint64_t>(context.processes.current().value));
}

}  // namespace

int signal_of(const target::StopEvent& event) {
  if (const auto* signal = std::get_if<target::SignalStop>(&event)) return signal->signal;
  if (std::holds_alternative<target::Interrupted>(event)) return SIGINT;
  return SIGTRAP;
}

std::string description_of(const target::StopEvent& event) {
  const auto* const stop = std::get_if<target::SignalStop>(&event);
  if (stop == nullptr || stop->signal == SIGTRAP) return {};
  const char* const name = sigabbrev_np(stop->signal);
  return name != nullptr ? fmt::format("signal SIG{}", name)
                         : fmt::format("signal {}", stop->signal);
}

std::string_view reason_of(const target::StopEvent& event) {
  return std::visit(Overloaded{
                        [](const target::BreakpointHit&) { return "breakpoint"; },
                        [](const target::WatchpointHit&) { return "watchpoint"; },
                        [](const target::StepDone&) { return "trace"; },
                        [](const target::HistoryBegin&) { return "exception"; },
                        [](const target::HistoryEnd&) { return "exception"; },
                        [](const target::SignalStop& stop) {
                          return description_of(stop).empty() ? "signal" : "exception";
                        },
                        [](const target::Interrupted&) { return "signal"; },
                        [](const target::SyscallStop&) { return "signal"; },
                        [](const target::Exec&) { return "exec"; },
                        [](const target::Forked&) { return "fork"; },
                        [](const target::VforkDone&) { return "vforkdone"; },
                        [](const target::Exiting&) { return "exception"; },
                        [](const target::Exited&) { return "none"; },
                        [](const target::Unsupported&) { return "exception"; },
                    },
                    event);
}

void append_thread_name(Context& context, Tid thread, std::string& out) {
  if (!context.client.thread_suffix) return;
  for (const target::ThreadInfo& one : context.target().threads()) {
    if (one.tid == thread && !one.name.empty()) append_key(out, "hexname", hex_of(one.name));
  }
}

void append_stop_reply(Context& context, const target::Stop& stop, std::string& out) {
  if (const auto* exited = std::get_if<target::Exited>(&stop.event)) {
    return append_exited(context, *exited, out);
  }
  out.push_back('T');
  const auto signal = static_cast<uint8_t>(context.signal_number(signal_of(stop.event)));
  append_hex(out, ByteView(&signal, 1));
  const Result<Registers> registers = context.target().read_registers(stop.thread);
  if (registers) append_expedited(context, *registers, out);
  out.append("thread:");
  context.append_thread_id(out, stop.thread);
  out.push_back(';');
  append_thread_name(context, stop.thread, out);
  if (context.client.threads_in_stop_reply) append_threads(context, out);
  append_event(context, stop.event, out);
}

}  // namespace rchk::protocol
