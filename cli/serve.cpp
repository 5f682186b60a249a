#include "cli/serve.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

#include <sched.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "cli/commands.h"
#include "engine/tracee/tracee.h"
#include "gdb_commands.h"
#include "gdbserver/protocol/session.h"

namespace rchk::cli {

Result<std::unique_ptr<protocol::Transport>> await_debugger(uint16_t port) {
  RCHK_TRY_ASSIGN(protocol::Listener listener, protocol::Listener::open("", port));
  fmt::print(stderr,
             "rchk: listening on 127.0.0.1:{0}; in gdb: target remote :{0}; in lldb: gdb-remote "
             "{0}\n",
             listener.port());
  return listener.accept();
}

KeepWaiting::KeepWaiting() {
  // Its signals are for the thread that serves.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

KeepWaiting::~KeepWaiting() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  done_changed_.notify_all();
  thread_.join();
}

void KeepWaiting::run() {
  constexpr std::chrono::seconds kPause(1);
  std::unique_lock lock(mutex_);
  while (!done_changed_.wait_for(lock, kPause, [this] { return done_; })) {
    // Who has left is noticed when it is to be served.
    if (write(STDOUT_FILENO, "+", 1) != 1) return;
  }
}

std::string progress_of_stores(uint64_t steps, uint64_t all) {
  const uint64_t percent = all != 0 ? steps * 100 / all : 100;
  return fmt::format("replaying what stores to the same memory: {} %", percent);
}

Result<void> serve(target::Target& target, protocol::Transport& transport,
                   const ServeOptions& how) {
  std::signal(SIGPIPE, SIG_IGN);
  protocol::SessionOptions options;
  options.progress = how.progress;
  if (how.log_packets) {
    options.log = [](char direction, std::string_view text) {
      fmt::print(stderr, "{} {}\n", direction, text);
    };
  }
  protocol::Session session(target, transport, options);
  const auto end = session.run();
  if (!end) return tl::make_unexpected(end.error());
  return {};
}

int start_gdb(const std::string& self, const std::vector<std::string>& rchk_arguments,
              const std::vector<std::string>& gdb_arguments) {
  // gdb gives the command to a shell.
  const auto quoted = [](const std::string& text) {
    std::string result = "'";
    for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return result + "'";
  };
  std::string remote = "target remote | " + quoted(self);
  for (const std::string& argument : rchk_arguments) remote += " " + quoted(argument);
  const std::string commands = std::string("python ") + kGdbCommands;
  // On a busy machine it may take longer to be there than gdb's 2 seconds.
  const std::string patience = "set remotetimeout 20";
  std::vector<std::string> command{"gdb", "-q", "-ex", patience, "-ex", commands, "-ex", remote};
  command.insert(command.end(), gdb_arguments.begin(), gdb_arguments.end());
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  restore_descriptor_limit();
  execvp("gdb", argv.data());
  return report({ErrorKind::kMachine, errno, "cannot start gdb (Debian package gdb)"});
}

Result<Pinned> pin_here() {
  const int cpu = sched_getcpu();
  if (cpu < 0) return fail_errno("sched_getcpu");
  RCHK_TRY_ASSIGN(std::vector<int> allowed, tracee::pin_to_cpu(cpu));
  std::erase(allowed, cpu);
  return Pinned{cpu, std::move(allowed)};
}

}  // namespace rchk::cli
