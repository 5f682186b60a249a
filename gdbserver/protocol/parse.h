#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/types.h"
#include "gdbserver/target/stop.h"

// The parsers of packets' arguments: what stands behind the packet's name. Each takes hostile
// text, and returns nothing when it is malformed.
namespace rchk::protocol {

// A thread-id: `tid`, `pPID.TID` or `pPID`; -1 stands for all, 0 for any.
struct ThreadId {
  static constexpr int32_t kAny = 0;
  static constexpr int32_t kAll = -1;
  int32_t pid = kAny;
  int32_t tid = kAny;
  bool operator==(const ThreadId&) const = default;
  // The one thread that is meant, if it is one.
  std::optional<Tid> single() const { return tid > 0 ? std::optional(Tid{tid}) : std::nullopt; }
};
std::optional<ThreadId> parse_thread_id(std::string_view text);

// `addr,length` (m, x).
std::optional<AddressRange> parse_memory_range(std::string_view text);

// `addr,length:data`, in hexadecimal (M) or binary (X).
struct MemoryContents {
  GuestAddress address;
  Bytes bytes;
};
std::optional<MemoryContents> parse_hex_contents(std::string_view text);
std::optional<MemoryContents> parse_binary_contents(std::string_view text);

// `type,addr,kind[;Xlength,bytecode]...` (Z, z).
struct StopPointPacket {
  target::StopPoint point;
  bool known_type = true;  // false: the type is none of 0 to 4
};
std::optional<StopPointPacket> parse_stop_point(std::string_view text);

// One action of vCont.
struct ResumeAction {
  enum class Kind : uint8_t { kContinue, kStep, kRangeStep, kStop };
  Kind kind = Kind::kContinue;
  int signal = 0;  // as the debugger numbers it
  AddressRange range;
  ThreadId thread{ThreadId::kAll, ThreadId::kAll};
};
// `action[:thread-id][;...]`, without the first semicolon.
std::optional<std::vector<ResumeAction>> parse_resume_actions(std::string_view text);

// `sig[;addr]` (C, S) or `[addr]` (c, s).
struct ResumeArguments {
  int signal = 0;
  std::optional<GuestAddress> address;
};
std::optional<ResumeArguments> parse_resume_arguments(std::string_view text, bool with_signal);

// `object:read:annex:offset,length` or `object:write:annex:offset:data` (qXfer).
struct Transfer {
  std::string_view object, annex;
  bool write = false;
  uint64_t offset = 0, length = 0;
  std::string_view data;
};
std::optional<Transfer> parse_transfer(std::string_view text);

// Cuts `;thread:ID;` off the end of a register packet's arguments, if it is there (lldb).
// False: it is there, and malformed.
bool take_thread_suffix(std::string_view& text, std::optional<ThreadId>& thread);

}  // namespace rchk::protocol
