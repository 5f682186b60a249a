#pragma once

namespace rchk::syscalls::test {

// A guest that makes as many kinds of system calls as it can without harm, with buffers whose
// contents differ from what the kernel will store. Returns its exit status.
int exotic_calls();

// A guest that makes `rounds` of calls with random buffers and lengths, seeded.
int random_calls(int rounds);

}  // namespace rchk::syscalls::test
