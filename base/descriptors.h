#pragma once

namespace rchk {

// How many files this process may have open (getrlimit(2), RLIMIT_NOFILE). A recorder needs some
// for each process that it records, and must not be without: it would take each that it cannot look
// at for one that has ended.

// Allows it as many as it may allow itself, and sets some aside. To be called once, first.
void take_descriptors();
// The limit as it was before, for what is executed next. Async-signal-safe.
void restore_descriptor_limit();

// open(2), closed by execve. Where no descriptor is left, those that were set aside serve.
int open_descriptor(const char* path, int flags);
// Whether they had to. There are few more: it is time to end.
bool descriptors_ran_out();

}  // namespace rchk
