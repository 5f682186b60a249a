#pragma once

namespace rchk::protocol {

// gdb has signal numbers of its own, the same for all systems (gdb's include/gdb/signals.def).
// Signals without one become gdb's "unknown", 143.
int gdb_signal_of(int linux_signal);
// 0 for a number that is no Linux signal.
int linux_signal_of(int gdb_signal);

}  // namespace rchk::protocol
