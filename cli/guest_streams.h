#pragma once

#include <array>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "cli/commands.h"
#include "gdbserver/protocol/transport.h"

namespace rchk::cli {

// Standard input, output and error of a program that is recorded under a debugger, and the
// debugger's connection, sorted out from what rchk was started with:
//
//   gdb -ex 'target remote | rchk PROG'              gdb's socket is 0 and 1
//   gdb -ex 'target remote | rchk PROG < in > out'   the redirected ones are the guest's
//   rchk --port 1234 PROG                            all are the guest's
//
// The guest gets the terminal that gdb runs in, as natively, where there is one; otherwise its
// output comes through a pipe, to be shown by the debugger, and its input is empty.
struct GuestStreams {
  std::array<FileDescriptor, 3> guest;
  FileDescriptor output_pipe;  // the reading end, not blocking; not open without a pipe
  std::unique_ptr<protocol::Transport> transport;

  static Result<GuestStreams> sort_out(const LiveOptions& options);
  // What came through the pipe meanwhile.
  std::string take_output();
};

}  // namespace rchk::cli
