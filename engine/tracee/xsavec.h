#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/registers.h"
#include "base/result.h"
#include "base/types.h"
#include "engine/tracee/tracee.h"

namespace rchk::tracee {

// An XSAVEC instruction that is about to be executed.
struct XsavecInstruction {
  GuestAddress area;   // where it stores
  uint8_t length = 0;  // of the instruction
};

// The instruction in `code`, which lies at registers.pc(), if it is XSAVEC.
std::optional<XsavecInstruction> decode_xsavec(std::span<const uint8_t> code,
                                               const Registers& registers);

// Bytes that an instruction stores, one run after the other.
struct StoredBytes {
  GuestAddress address;
  std::vector<uint8_t> bytes;
};

// XSAVEC as a function of the registers that it saves (docs/notes/xsave.md). The processor's own
// one writes, or leaves out, components in their initial state as it happens to have noticed;
// this one always leaves them out.
class Xsavec {
 public:
  // For the processor and the kernel that it is called on. Takes some microseconds for each CPUID
  // in a virtual machine: to be done once.
  static Xsavec of_this_machine();

  // What the instruction stores. `state` is what ptrace says of the thread.
  std::vector<StoredBytes> stores(const XsavecInstruction& instruction, const Registers& registers,
                                  const ExtendedState& state) const;

 private:
  struct Component {
    uint32_t size_bytes = 0;
    uint32_t standard_offset = 0;
    bool aligned = false;  // to 64 bytes in the compacted format
  };
  static constexpr unsigned kComponents = 63;

  bool is_initial(unsigned component, const ExtendedState& state) const;

  uint64_t xcr0_ = 0;
  uint32_t mxcsr_mask_ = 0;
  std::array<Component, kComponents> components_{};
};

// Where XSAVEC instructions that the dynamic linker's lazy binding executes lie in `code`, as
// offsets: those that directly follow the loading of a constant mask into edx:eax.
std::vector<size_t> find_lazy_binding_xsavec(std::span<const uint8_t> code);

}  // namespace rchk::tracee
