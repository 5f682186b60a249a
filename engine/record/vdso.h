#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"

namespace rchk::record {

// Where things are in a vDSO whose functions have been made system calls: offsets in bytes.
struct VdsoCalls {
  // Where a function begins with `mov $number, %eax` of five bytes, and goes on with a call.
  struct Function {
    uint32_t number = 0;
    uint64_t offset = 0;
  };
  static constexpr size_t kHeadBytes = 5;

  uint64_t syscall = 0;                 // a `syscall` instruction, behind the head of a function
  std::array<Function, 5> functions{};  // number 0: there is none
  // Code of clock_gettime, or of the largest function, that nothing uses any more.
  uint64_t room = 0, room_bytes = 0;

  std::optional<uint64_t> find(uint32_t number) const;
  // One that is there already, by another name, stays.
  void add(Function function);
};

// The vDSO's functions read the kernel's clock without a system call, so that their results escape
// the log. With this each of them is the system call that it spares: the names and symbols stay
// what they were, and so does what a program finds there. The unwind information says of all code
// what holds where a function begins.
//
// `image`: the vDSO of a process as the kernel maps it, whole pages; changed in place. Functions
// that have no call of their own (__vdso_getrandom, which wants memory of the kernel's kind) return
// -ENOSYS, as on a kernel or a processor that lacks them. Errors: kMachine if it is no ELF file
// with such functions.
Result<VdsoCalls> make_functions_calls(Bytes& image);

}  // namespace rchk::record
