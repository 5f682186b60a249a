#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "gdbserver/protocol/transport.h"
#include "gdbserver/target/target.h"

namespace rchk::cli {

// Serves one debugger until it leaves.
Result<void> serve(target::Target& target, protocol::Transport& transport, bool log_packets);

// Replaces this process by gdb, connected to `rchk ARGUMENTS...`. Returns only on failure.
int start_gdb(const std::string& self, const std::vector<std::string>& rchk_arguments,
              const std::vector<std::string>& gdb_arguments);

// The core that this thread runs on now, which it is pinned to from then on, and which others it
// might have run on.
struct Pinned {
  int cpu = 0;
  std::vector<int> others;
};
Result<Pinned> pin_here();

}  // namespace rchk::cli
