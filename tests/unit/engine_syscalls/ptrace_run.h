#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/types.h"

namespace rchk::syscalls::test {

// What running a program under the check showed.
struct RunReport {
  std::vector<std::string> failures;      // memory or mappings that changed unannounced
  std::vector<std::string> doubts;        // calls for which the table was not complete
  std::map<int32_t, uint64_t> calls;      // how often each number was called
  std::map<int32_t, uint64_t> succeeded;  // of these, without an error
  uint64_t changed_bytes = 0;             // in all calls together
  uint64_t named_bytes = 0;               // by outputs(), clipped to writable memory
  int exit_status = -1;                   // or -1 for a signal
};

// The number of a call whose outputs and effects the check is to forget, to see it fail.
using BlindTo = std::optional<int32_t>;

// Runs `guest` in a forked process under ptrace and compares all its writable memory and its
// mappings before and after each call with what the table says. Calls that refusal() names are
// refused. `guest` makes its calls and returns its exit status, or replaces the program.
RunReport run_checked(const std::function<int()>& guest, BlindTo blind_to = std::nullopt);

// The same for a program found on PATH.
RunReport run_program_checked(const std::vector<std::string>& command);

}  // namespace rchk::syscalls::test
