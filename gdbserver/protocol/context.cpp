#include "gdbserver/protocol/context.h"

#include <algorithm>

#include "gdbserver/protocol/hex.h"
#include "gdbserver/protocol/signals.h"

namespace rchk::protocol {

Tid Context::thread_for(const std::optional<ThreadId>& suffix) const {
  if (suffix && suffix->single()) return *suffix->single();
  return general_thread.value != 0 ? general_thread : last_stop.thread;
}

Result<RegisterValues> Context::read_values(Tid thread) {
  RegisterValues values;
  RCHK_TRY_ASSIGN(values.general, target.read_registers(thread));
  RCHK_TRY_ASSIGN(values.extended, target.read_extended_state(thread));
  return values;
}

void Context::append_thread_id(std::string& out, Tid thread) const {
  if (client.multiprocess) {
    out.push_back('p');
    append_number(out, static_cast<uint64_t>(target.process().value));
    out.push_back('.');
  }
  append_number(out, static_cast<uint64_t>(thread.value));
}

bool Context::has_thread(Tid thread) {
  const std::vector<target::ThreadInfo> threads = target.threads();
  return std::any_of(threads.begin(), threads.end(),
                     [thread](const target::ThreadInfo& one) { return one.tid == thread; });
}

int Context::signal_number(int linux_signal) const {
  return client.thread_suffix ? linux_signal : gdb_signal_of(linux_signal);
}

int Context::linux_signal(int number) const {
  return client.thread_suffix ? number : linux_signal_of(number);
}

}  // namespace rchk::protocol
