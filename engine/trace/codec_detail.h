#pragma once

#include <array>
#include <bit>
#include <type_traits>
#include <variant>

#include "engine/trace/event.h"

// What the encoder and the decoder of events must agree on (docs/trace-format.md, "Events").
namespace rchk::trace::detail {

// The index of EventBody's alternative is what the file holds: the order is part of the format.
enum class EventKind : uint8_t {
  kExec,
  kSyscall,
  kTrap,
  kSignal,
  kChecksum,
  kExit,
  kSwitch,
  kSpawn,
  kTaskEnd,
  kMemory,
};
// Beside the kind: another task's or in another address space than the event before.
inline constexpr uint8_t kOtherTask = 0x80;
template <EventKind kind>
using BodyOf = std::variant_alternative_t<static_cast<size_t>(kind), EventBody>;
static_assert(std::is_same_v<BodyOf<EventKind::kExec>, ExecEvent>);
static_assert(std::is_same_v<BodyOf<EventKind::kSyscall>, SyscallEvent>);
static_assert(std::is_same_v<BodyOf<EventKind::kTrap>, TrapEvent>);
static_assert(std::is_same_v<BodyOf<EventKind::kSignal>, SignalEvent>);
static_assert(std::is_same_v<BodyOf<EventKind::kChecksum>, ChecksumEvent>);
static_assert(std::is_same_v<BodyOf<EventKind::kExit>, ExitEvent>);
static_assert(std::is_same_v<BodyOf<EventKind::kSwitch>, SwitchEvent>);
static_assert(std::is_same_v<BodyOf<EventKind::kSpawn>, SpawnEvent>);
static_assert(std::is_same_v<BodyOf<EventKind::kTaskEnd>, TaskEndEvent>);
static_assert(std::is_same_v<BodyOf<EventKind::kMemory>, MemoryEvent>);
static_assert(std::variant_size_v<EventBody> == 10);

// So is that of AddressSpaceChange.
enum class ChangeKind : uint8_t { kMap, kUnmap, kProtect, kRemap, kDiscard };
static_assert(std::is_same_v<std::variant_alternative_t<0, AddressSpaceChange>, MapChange>);
static_assert(std::is_same_v<std::variant_alternative_t<1, AddressSpaceChange>, UnmapChange>);
static_assert(std::is_same_v<std::variant_alternative_t<2, AddressSpaceChange>, ProtectChange>);
static_assert(std::is_same_v<std::variant_alternative_t<3, AddressSpaceChange>, RemapChange>);
static_assert(std::is_same_v<std::variant_alternative_t<4, AddressSpaceChange>, DiscardChange>);
static_assert(std::variant_size_v<AddressSpaceChange> == 5);

enum MappingFlag : uint8_t { kMappingShared = 1, kMappingGrowsDown = 2, kMappingBacked = 4 };
enum SyscallFlag : uint8_t {
  kSyscallNumber = 1,  // the number is not what rax says
  kSyscallChanges = 2,
  kSyscallWrites = 4,
  kSyscallOutput = 8,
  kSyscallExtendedState = 16,
};
enum SignalFlag : uint8_t { kSignalFatal = 1, kSignalHandler = 2 };
// In the byte of a Place: checksums follow the pages of the state.
inline constexpr uint8_t kPlaceWithChecksums = 0x80;
enum InfoFlag : uint8_t { kInfoCpuidTrapped = 1, kInfoTscTrapped = 2 };

// Small differences of either sign become small numbers.
inline uint64_t zigzag(uint64_t difference) { return (difference << 1) ^ (0 - (difference >> 63)); }
inline uint64_t unzigzag(uint64_t number) { return (number >> 1) ^ (0 - (number & 1)); }

using RegisterArray = std::array<uint64_t, sizeof(Registers) / sizeof(uint64_t)>;
static_assert(std::tuple_size_v<RegisterArray> <= 64, "the mask of changes has 64 bits");
inline RegisterArray to_array(const Registers& registers) {
  return std::bit_cast<RegisterArray>(registers);
}
inline Registers from_array(const RegisterArray& values) {
  return std::bit_cast<Registers>(values);
}

// What a system call leaves behind if it does as most do: pc behind the instruction, which has
// put pc and flags into rcx and r11 (SDM vol. 2, SYSCALL), and a result of 0.
inline Registers guess_after_syscall(const Registers& before) {
  Registers after = before;
  after.rip = before.rip + 2;
  after.rcx = after.rip;
  after.r11 = before.rflags;
  after.orig_rax = before.rax;
  after.rax = 0;
  return after;
}

// pc behind the instruction: RDTSC and CPUID have two bytes, RDTSCP three.
inline Registers guess_after_trap(TrappedInstruction instruction, const Registers& before) {
  Registers after = before;
  after.rip = before.rip + (instruction == TrappedInstruction::kRdtscp ? 3 : 2);
  return after;
}

}  // namespace rchk::trace::detail
