#pragma once

#include <sys/types.h>

namespace rchk::cli {

// A program may send any signal to its whole process group, where rchk is as well: what nobody has
// a handler for here does nothing from now on, but for those that stop rchk, end it on purpose
// (SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGABRT) or tell of an error of its own. Programs that are
// started later have the usual actions.
void outlive_signals();

// Whether this process traces `pid`. May be called by a handler.
bool is_traced_here(pid_t pid);

}  // namespace rchk::cli
