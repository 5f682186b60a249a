#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"

namespace rchk::record {

// The vDSO's functions read the kernel's clock without a system call, so that their results escape
// the log. With this each of them is the system call that it spares: the name, the symbols and the
// unwind information stay what they were, and so does what a program finds there.
//
// `image`: the vDSO of a process as the kernel maps it, whole pages; changed in place. Returns the
// offset of a `syscall` instruction in it. Functions that have no call of their own
// (__vdso_getrandom, which wants memory of the kernel's kind) return -ENOSYS, as on a kernel or a
// processor that lacks them. Errors: kMachine if it is no ELF file with such functions.
Result<uint64_t> make_functions_calls(Bytes& image);

}  // namespace rchk::record
