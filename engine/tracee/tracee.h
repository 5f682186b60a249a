#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <signal.h>
#include <sys/types.h>

#include "base/registers.h"
#include "base/result.h"
#include "base/types.h"

namespace rchk::tracee {

// Why a tracee stopped, from waitpid's status (ptrace(2)).
struct StopStatus {
  enum class Kind : uint8_t {
    kSyscall,      // entry or exit of a system call, or a suppressed one under kSysemu
    kSignal,       // a signal is about to be delivered: `value`
    kEvent,        // a PTRACE_EVENT: `value`; PTRACE_EVENT_STOP is kGroupStop or kInterrupted
    kGroupStop,    // stopped by SIGSTOP, SIGTSTP, SIGTTIN or SIGTTOU: `value`
    kInterrupted,  // by interrupt()
    kExited,       // gone; exit status in `value`
    kKilled,       // gone; signal in `value`
  };
  Kind kind = Kind::kSignal;
  int value = 0;
  bool core_dumped = false;

  bool is_gone() const { return kind == Kind::kExited || kind == Kind::kKilled; }
};

// PTRACE_EVENT numbers, for StopStatus::value (linux/ptrace.h).
enum TraceEvent : int {
  kEventFork = 1,
  kEventVfork = 2,
  kEventClone = 3,
  kEventExec = 4,
  kEventVforkDone = 5,
  kEventExit = 6,
  kEventSeccomp = 7,  // a filter's TRACE: the entry of a system call
};

enum class ResumeMode : uint8_t {
  kContinue,
  kSyscall,  // stop at the next system call's entry or exit
  kSysemu,   // stop at the next system call and suppress it
  kStep,     // stop after one instruction
};

// What a new tracee runs and with which surroundings.
struct SpawnOptions {
  std::vector<std::string> arguments;           // [0] is looked up in PATH
  std::vector<std::string> environment;         // NAME=value
  std::array<int, 3> standard_fds = {0, 1, 2};  // become 0, 1 and 2 of the guest
  bool randomize_addresses = false;
  std::optional<int> cpu;  // the guest runs on this core only
};

// Whether a thread runs 64-bit code (__USER_CS, arch/x86/include/asm/segment.h).
constexpr bool in_long_mode(const Registers& registers) { return registers.cs == 0x33; }

// One traced thread. Owns the trace relation: a tracee that is still there when its owner goes
// is killed, unless it was detached. All calls but interrupt() and wait() need it stopped. A
// tracee that is gone makes any call fail with ErrorKind::kGone: an ordinary outcome.
class Tracee {
 public:
  // Starts a program and stops it behind its execve. Errors: kMisuse when the program cannot
  // be run (the errno of execve in it), kMachine when ptrace is not allowed.
  static Result<Tracee> spawn(const SpawnOptions& options);
  // Starts an empty process: nothing is mapped in it but one page at `gadget`, readable, writable
  // and executable, that begins with a `syscall` instruction. It has no descriptors, blocks all
  // signals but those of faults, and is killed with its tracer.
  static Result<Tracee> spawn_empty(GuestAddress gadget, std::optional<int> cpu);
  // Takes over a process that is traced already and stopped.
  static Tracee adopt(pid_t pid);

  Tracee(Tracee&& other) noexcept;
  Tracee& operator=(Tracee&& other) noexcept;
  Tracee(const Tracee&) = delete;
  Tracee& operator=(const Tracee&) = delete;
  ~Tracee();

  pid_t pid() const { return pid_; }

  Result<Registers> registers() const;
  Result<void> set_registers(const Registers& registers);
  Result<ExtendedState> extended_state() const;
  Result<void> set_extended_state(const ExtendedState& state);
  Result<siginfo_t> signal_info() const;
  // Those sent to this thread alone that are still to come, blocked ones too.
  Result<std::vector<siginfo_t>> pending_signals() const;
  // Replaces what the signal that it is stopped at says.
  Result<void> set_signal_info(const siginfo_t& info);
  // The signals that are kept from being delivered, as a kernel sigset (bit 0: signal 1).
  Result<void> set_signal_mask(uint64_t mask);
  Result<uint64_t> signal_mask() const;
  // Says that it blocks all signals but those of faults, and always will: remote system calls then
  // leave its mask alone. Of the results of spawn_empty() it is true from the start.
  void expect_no_signals() { expects_signals_ = false; }
  // A debug register, 0 to 7 (SDM vol. 3, 17.2).
  Result<uint64_t> debug_register(int index) const;
  Result<void> set_debug_register(int index, uint64_t value);
  // PTRACE_GETEVENTMSG: the new pid of a fork event, the status of an exit event.
  Result<uint64_t> event_message() const;
  // Whether it is at the stop behind a system call (PTRACE_GET_SYSCALL_INFO).
  bool is_at_call_exit() const;
  // Those of every tracee (ptrace(2), PTRACE_SETOPTIONS): among them that it is killed with its
  // tracer.
  Result<void> set_usual_options();

  // Bytes read from `address` on; fewer when the rest is not mapped. Access rights of the guest
  // do not matter.
  size_t read_memory(GuestAddress address, std::span<uint8_t> bytes) const;
  Result<void> write_memory(GuestAddress address, std::span<const uint8_t> bytes);
  // To be called after an execve in it, which gives it other memory.
  void forget_memory();

  Result<void> resume(ResumeMode mode, int signal = 0);
  // PTRACE_LISTEN: stays in a group stop.
  Result<void> listen();
  // Asks a running tracee to stop; wait() will say kInterrupted (or another stop came first).
  Result<void> interrupt();
  // Waits for the next stop. A signal to rchk itself (EINTR) is waited through unless
  // `give_up_on_signal`, when the result is an Error with errno EINTR.
  Result<StopStatus> wait(bool give_up_on_signal = false);
  // The next stop if there is one already.
  Result<std::optional<StopStatus>> poll();

  // Makes the stopped tracee perform a system call and returns its raw result (-errno on
  // failure of the call itself). All registers are as before afterwards. `gadget` is the address
  // of a `syscall` instruction in it.
  // REQUIRES: not stopped at the entry of a system call.
  Result<int64_t> remote_syscall(GuestAddress gadget, int64_t number,
                                 std::array<uint64_t, 6> arguments = {});
  // Clones the process by fork in it; the new one is stopped, traced, has the same registers and
  // gets killed with its tracer. Signals pending for it are none.
  enum class Kinship : uint8_t {
    kSibling,  // a child of the process's parent: right where that is the tracer
    kChild,    // the process's own child, of which only a wait with __WCLONE or __WALL tells it
  };
  Result<Tracee> fork(GuestAddress gadget, Kinship kinship = Kinship::kSibling);

  // Takes in a stop that the caller learned of by waitpid for any process.
  void take_note(const StopStatus& stop) { note(stop); }
  // Leaves it to itself: somebody else has the trace relation, or it has ended.
  void forget();

  // Filters of seccomp let calls pass that are made from `pc`: those that resume_call() and remote
  // system calls go on with seem to be, which need no memory there. Forks by fork() inherit it.
  void pass_filters_from(std::optional<GuestAddress> pc) { passes_from_ = pc; }
  std::optional<GuestAddress> passes_filters_from() const { return passes_from_; }
  // From a call's entry on to its exit.
  Result<void> resume_call(int signal = 0);
  // For one at its first stop that a call has made which seemed to be made from `from`. `pc` is
  // where it begins.
  void pass_filters_from_birth(GuestAddress from, GuestAddress pc);
  // Keeps filters of seccomp from being asked, for as long as it is traced. kMachine where that is
  // not allowed.
  Result<void> suspend_filters();

  // Lets it run on untraced.
  Result<void> detach(int signal = 0);
  // Kills it and takes its status away.
  void kill();
  // Kills it without waiting: freeing its memory may take long. Who waits for any process hears of
  // its end, and at times of a stop before, which adopt() and kill() take it out of as well.
  pid_t begin_kill();

 private:
  explicit Tracee(pid_t pid) : pid_(pid) {}
  Result<void> open_memory() const;
  Result<void> poke_memory(GuestAddress address, std::span<const uint8_t> bytes);
  Result<void> set_all_but_bases(const Registers& registers);
  void note(const StopStatus& stop);
  // Nothing can come between the stops of a remote system call while every signal is blocked.
  // Returns what unblock_signals() is to restore.
  Result<uint64_t> block_signals();
  void send_to_itself(int signal, siginfo_t info);
  Result<void> unblock_signals(uint64_t mask);
  Result<void> require_gadget(GuestAddress gadget) const;
  Result<void> run_to_gadget_entry(GuestAddress gadget);
  // Until the next stop of a call, noting a process that it made; signals that come meanwhile are
  // put back for later.
  Result<void> wait_for_syscall_stop(std::optional<pid_t>* new_process);
  void show_pc_again();

  pid_t pid_ = -1;
  mutable int memory_fd_ = -1;
  bool expects_signals_ = true;
  bool stops_later_ = false;  // a SIGSTOP came during a remote system call
  std::optional<GuestAddress> passes_from_;
  // Of a call that is made from there, for all that filters see: where it is made from.
  std::optional<GuestAddress> hidden_pc_;
};

// Decodes waitpid's status of a seized tracee.
StopStatus decode_wait_status(int status);

// Whether there is a program of that name, as execvpe(3) looks for it; kMisuse if not.
Result<void> find_program(const std::string& name);

// Pins the calling thread to a core, and returns the set it was allowed before.
Result<std::vector<int>> pin_to_cpu(int cpu);

}  // namespace rchk::tracee
