#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "gdbserver/protocol/transport.h"
#include "gdbserver/target/target.h"

namespace rchk::cli {

// Waits for a debugger on a port of 127.0.0.1, and tells the user how gdb and lldb come to it. 0:
// the kernel chooses one.
Result<std::unique_ptr<protocol::Transport>> await_debugger(uint16_t port);

// Keeps gdb waiting at standard output, while it is not served yet. It gives up after 2 s without a
// character (`set remotetimeout`), and passes over acknowledgements in front of an answer.
class KeepWaiting {
 public:
  KeepWaiting();
  ~KeepWaiting();
  KeepWaiting(const KeepWaiting&) = delete;
  KeepWaiting& operator=(const KeepWaiting&) = delete;

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable done_changed_;
  bool done_ = false;
  std::thread thread_;
};

// How far a replay has come of those that store to the same memory (replay::SharedStores).
std::string progress_of_stores(uint64_t steps, uint64_t all);

// Serves one debugger until it leaves. `progress` is of what the target does.
struct ServeOptions {
  bool log_packets = false;
  Progress* progress = nullptr;
};
Result<void> serve(target::Target& target, protocol::Transport& transport, const ServeOptions& how);

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
