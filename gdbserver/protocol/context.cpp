#include "gdbserver/protocol/context.h"

#include <algorithm>

#include "gdbserver/protocol/hex.h"
#include "gdbserver/protocol/signals.h"

namespace rchk::protocol {

Tid Context::thread_for(const std::optional<ThreadId>& suffix) {
  if (suffix && suffix->single()) return *suffix->single();
  if (general_thread.value != 0) return general_thread;
  if (last_stop.process == processes.current()) return last_stop.thread;
  return target().current_stop().thread;
}

template <typename Look>
auto Context::look_in_files(Look look) -> decltype(look(std::declval<target::EmbeddedFiles&>())) {
  std::vector<Tid> pids = processes.all();
  std::stable_partition(pids.begin(), pids.end(),
                        [this](Tid pid) { return pid == processes.current(); });
  for (const Tid pid : pids) {
    target::Target* const one =
        pid == processes.current() ? &processes.target() : processes.family()->process(pid);
    target::EmbeddedFiles* const files_of_one = one->embedded_files();
    if (files_of_one == nullptr) continue;
    if (auto found = look(*files_of_one)) return found;
  }
  return std::nullopt;
}

std::optional<ByteView> Context::embedded_file(std::string_view path) {
  return look_in_files([path](target::EmbeddedFiles& all) { return all.embedded_file(path); });
}

std::optional<std::string> Context::embedded_link(std::string_view path) {
  return look_in_files([path](target::EmbeddedFiles& all) { return all.embedded_link(path); });
}

bool Context::select_process(const ThreadId& id) {
  const Tid before = processes.current();
  if (!processes.select(processes.process_of(id))) return false;
  if (processes.current() == before) return true;
  general_thread = meant_thread = {};
  transfer_object.clear();
  return true;
}

Result<void> Context::detach_process(Tid pid) {
  const Tid before = processes.current();
  RCHK_TRY(processes.detach(pid));
  if (processes.current() == before) return {};
  general_thread = meant_thread = {};
  transfer_object.clear();
  return {};
}

void Context::note_stop(const target::Stop& stop) {
  last_stop = stop;
  if (stop.process.value == 0) last_stop.process = processes.current();
  select_process({last_stop.process.value, ThreadId::kAny});
  // So do debuggers.
  general_thread = meant_thread = stop.thread;
}

void Context::note_move() {
  last_stop = current_stop();
  moved_by_monitor = true;
  transfer_object.clear();
  if (!processes.has_thread(processes.current(), general_thread)) general_thread = {};
}

target::Stop Context::current_stop() {
  target::Stop stop = target().current_stop();
  stop.process = processes.current();
  return stop;
}

Result<RegisterValues> Context::read_values(Tid thread) {
  RegisterValues values;
  RCHK_TRY_ASSIGN(values.general, target().read_registers(thread));
  RCHK_TRY_ASSIGN(values.extended, target().read_extended_state(thread));
  return values;
}

void Context::append_thread_id(std::string& out, Tid process, Tid thread) const {
  if (client.multiprocess) {
    out.push_back('p');
    append_number(out, static_cast<uint64_t>(process.value));
    out.push_back('.');
  }
  append_number(out, static_cast<uint64_t>(thread.value));
}

int Context::signal_number(int linux_signal) const {
  return client.thread_suffix ? linux_signal : gdb_signal_of(linux_signal);
}

int Context::linux_signal(int number) const {
  return client.thread_suffix ? number : linux_signal_of(number);
}

}  // namespace rchk::protocol
