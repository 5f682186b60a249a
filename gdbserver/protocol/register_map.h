#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/registers.h"
#include "gdbserver/target/xsave_layout.h"

namespace rchk::protocol {

// gdb's number of a register: its place in the target description.
struct RegisterNumber {
  uint32_t value = 0;
  auto operator<=>(const RegisterNumber&) const = default;
};

// What stop replies carry along, so that gdb need not ask: it finds the frame with these. (rbx is
// what 1 in 25 steps through libc asks for besides the others, measured.)
inline constexpr RegisterNumber kRbxNumber{1}, kRbpNumber{6}, kRspNumber{7}, kRipNumber{16};
inline constexpr RegisterNumber kExpedited[] = {kRbxNumber, kRbpNumber, kRspNumber, kRipNumber};

// The features of gdb's i386 target descriptions (gdb manual, "i386 Features"), in this order.
enum class Feature : uint8_t { kCore, kSse, kLinux, kSegments, kAvx, kAvx512, kPkeys };

// Where a register's value is kept.
enum class RegisterHome : uint8_t {
  kGeneral,     // in Registers, at an offset
  kXsave,       // in the XSAVE area, at an offset, in one component
  kX87TagWord,  // in the XSAVE area, in the short form of FXSAVE (SDM vol. 1, 10.5.1.1)
};

struct RegisterDescription {
  std::string name;
  Feature feature = Feature::kCore;
  const char* type = "";       // gdb's name for it
  uint32_t size_bytes = 8;     // as the debugger sees it
  uint32_t packet_offset = 0;  // bytes into the g packet
  RegisterHome home = RegisterHome::kGeneral;
  target::XsaveComponent component = target::XsaveComponent::kX87;
  uint32_t home_offset = 0;
  uint32_t home_size_bytes = 8;  // a smaller home is extended with zeros
  int dwarf_number = -1;         // psABI figure 3.36; -1 for none
  const char* generic = "";      // lldb's word for its role
};

// A thread's registers, as read from the target.
struct RegisterValues {
  Registers general;
  ExtendedState extended;  // empty when unknown
};

// The registers in the order of the g packet, which is that of the target description. The core,
// sse, linux and segments features are always there, so that their numbers are fixed.
class RegisterMap {
 public:
  explicit RegisterMap(const target::XsaveLayout& layout);

  const std::vector<RegisterDescription>& all() const { return registers_; }
  const RegisterDescription* find(RegisterNumber number) const;
  uint32_t packet_bytes() const { return packet_bytes_; }

  // Appends a register in hexadecimal, or as many x where the target does not know it.
  void append_value(std::string& out, const RegisterDescription& which,
                    const RegisterValues& values) const;
  // All of them: the reply to g.
  void append_all(std::string& out, const RegisterValues& values) const;

  // Changes one register. False when `bytes` has the wrong size, or the state is unknown.
  bool write(const RegisterDescription& which, std::span<const uint8_t> bytes,
             RegisterValues& values) const;
  // Changes all registers from the digits of a G packet; those with x stay. False as above.
  bool write_all(std::string_view digits, RegisterValues& values) const;

 private:
  static constexpr uint32_t kMaxRegisterBytes = 32;
  using Value = std::array<uint8_t, kMaxRegisterBytes>;

  void add(RegisterDescription description);
  void add_core();
  void add_x87();
  void add_sse();
  void add_avx512();
  void add_general(Feature feature, const char* name, size_t offset, uint32_t size_bytes,
                   const char* type);
  void add_xsave(Feature feature, std::string name, target::XsaveComponent component,
                 uint32_t offset, uint32_t size_bytes, const char* type);
  // False: unknown.
  bool read(const RegisterDescription& which, const RegisterValues& values, Value& value) const;

  target::XsaveLayout layout_;
  std::vector<RegisterDescription> registers_;
  uint32_t packet_bytes_ = 0;
};

// The value of a general register by gdb's number, for conditions: the same on every machine.
std::optional<uint64_t> general_register(const Registers& registers, RegisterNumber number);

// The target description, target.xml. lldb reads it too, with attributes of its own that gdb
// passes over.
std::string target_description(const RegisterMap& map);

}  // namespace rchk::protocol
