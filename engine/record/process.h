#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/result.h"

namespace rchk::record {

// Sets of signals as the kernel writes them: bit 0 is signal 1.
using SignalSet = uint64_t;
constexpr SignalSet signal_bit(int signal) { return 1ull << (signal - 1); }

// A process's signals, from /proc/PID/status (proc(5)).
struct SignalStatus {
  SignalSet pending = 0;  // of the thread and of the process
  SignalSet blocked = 0;
  SignalSet ignored = 0;
  SignalSet caught = 0;
};
Result<SignalStatus> read_signal_status(pid_t pid);

// Whether what it maps to be read can be executed as well (personality(2), READ_IMPLIES_EXEC).
bool read_implies_exec(pid_t tid);

// A task's numbers in all pid namespaces that it is in, from the caller's to its own (proc(5),
// NSpid); none if it is gone.
std::vector<pid_t> numbers_in_namespaces(pid_t tid);

// Whether a child of a task's would be in its pid namespace, and not, say, the first one of
// another, whose end is the end of that namespace (pid_namespaces(7)).
bool children_are_beside(pid_t tid);

// Whether a process is number 1 of a pid namespace of its own.
bool is_first_of_namespace(pid_t pid);

// Whether a process has filters of seccomp, or that cannot be told.
bool is_filtered(pid_t pid);

// What becomes of a signal that is delivered (signal(7)).
enum class SignalAction : uint8_t { kIgnore, kHandler, kStop, kFatal };
SignalAction action_of(int signal, const SignalStatus& status);

// "SIGSEGV"; "signal 40" for one that has no name.
std::string signal_name(int signal);

// What a link of /proc/PID says ("exe", "cwd", "fd/3"); empty if it cannot be read.
std::string read_proc_link(pid_t pid, const std::string& name);
Result<std::vector<uint8_t>> read_proc_file(pid_t pid, const std::string& name);

// What /proc/PID/stat says behind the name, which may hold anything: "R 1 ..." (proc(5)); empty if
// it cannot be read.
std::string stat_fields(pid_t pid);

// The letter that proc(5) gives for a task's state in /proc/PID/stat ('R', 'S', 't'...); 'X' if it
// is gone.
char state_in_kernel(pid_t tid);

// How long a task has had a processor (proc(5), schedstat: only where the kernel keeps it).
std::optional<uint64_t> run_time_ns(pid_t tid);

}  // namespace rchk::record
