#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <tuple>
#include <vector>

#include "base/fd.h"
#include "base/registers.h"
#include "base/types.h"
#include "engine/trace/event.h"
#include "snapshot/address_space.h"

namespace rchk::record {

// RDRAND and RDSEED, and where the kernel cannot make them trap, RDTSC, RDTSCP and CPUID: the
// recorder patches them, and carries them out itself (docs/notes/untrapped-instructions.md).

// What an RDRAND or RDSEED that is about to be executed does.
struct RandomInstruction {
  trace::TrappedInstruction kind = trace::TrappedInstruction::kRdrand;
  uint8_t length = 0;       // of the instruction
  uint8_t destination = 0;  // number of a general register, as the processor counts them
  uint8_t size_bytes = 0;   // of the value: 2, 4 or 8
};

// The instruction that `code` begins with, if it is one of the two, patched or not.
std::optional<RandomInstruction> decode_random(std::span<const uint8_t> code);

// The registers after it, with a value of this processor's. The instruction may fail, as natively:
// the carry flag is clear then and the value 0 (SDM vol. 2B, RDRAND).
// REQUIRES: processor_has(instruction.kind).
Registers perform_random(const RandomInstruction& instruction, const Registers& before);

// Whether this processor executes RDRAND or RDSEED; one that it does not know raises SIGILL. Takes
// 20 us and more in a virtual machine.
bool processor_has(trace::TrappedInstruction kind);

// Which instructions a recorder patches.
struct UntrappedKinds {
  bool rdrand = false, rdseed = false;  // the processor has them
  bool counter = false;                 // RDTSC and RDTSCP do not trap
  bool cpuid = false;                   // nor does CPUID, and its answers do not stay
  bool any() const { return rdrand || rdseed || counter || cpuid; }
};

// Finds them in files. What looks like one may be a part of another instruction, or data: it counts
// only inside a function that the file names, in its unwind information or as a symbol, if the code
// of that leads there. What no direct jumps lead to counts if the code behind it uses the result.
class UntrappedInstructionFinder {
 public:
  explicit UntrappedInstructionFinder(UntrappedKinds kinds) : kinds_(kinds) {}

  // Offsets in `file`, in ascending order, of the opcodes (their 0F) of those in `size_bytes` bytes
  // from `offset_bytes` on. A file that cannot be read, or is no ELF file, has none. `id`:
  // remembers the answer.
  const std::vector<uint64_t>& find(snapshot::FileId id, const FileDescriptor& file,
                                    uint64_t offset_bytes, uint64_t size_bytes);
  UntrappedKinds kinds() const { return kinds_; }

 private:
  using Part = std::tuple<snapshot::FileId, uint64_t, uint64_t>;
  UntrappedKinds kinds_;
  std::map<Part, std::vector<uint64_t>> known_;
};

}  // namespace rchk::record
