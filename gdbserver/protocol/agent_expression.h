#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "gdbserver/target/stop.h"

namespace rchk::protocol {

// Evaluates one of gdb's agent expressions (gdb manual, appendix "The GDB Agent Expression
// Mechanism"): bytecode for a stack machine of 64-bit words, operands big-endian. Returns the top
// of the stack at `end`. Malformed bytecode, an unreadable address, a register other than the
// general ones, a division by zero and a loop without end are errors.
Result<uint64_t> evaluate(ByteView bytecode, const target::MachineView& machine);

// The bytecode as a condition: true when its value is not 0, or when it cannot be had, so that
// gdb evaluates it again.
target::Condition condition_of(Bytes bytecode);

}  // namespace rchk::protocol
