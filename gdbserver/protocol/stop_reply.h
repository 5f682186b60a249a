#pragma once

#include <string>
#include <string_view>

#include "gdbserver/protocol/context.h"
#include "gdbserver/target/stop.h"

namespace rchk::protocol {

// The signal that a stop reply names, by its Linux number.
int signal_of(const target::StopEvent& event);
// What a user of lldb is to read of a signal; empty for all else, and for SIGTRAP. lldb does not go
// back from a stop whose reason is a signal, for it would deliver that first: these are told as
// exceptions.
std::string description_of(const target::StopEvent& event);
// lldb's word for why a thread stopped.
std::string_view reason_of(const target::StopEvent& event);

// Appends a stop reply: T with the thread and the registers that gdb looks at first, or W or X
// when the program is gone. Its text needs no escapes.
void append_stop_reply(Context& context, const target::Stop& stop, std::string& out);
// Appends what a thread is called, if that is known, for lldb: gdb asks by qXfer:threads.
void append_thread_name(Context& context, Tid thread, std::string& out);

}  // namespace rchk::protocol
