#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "base/types.h"
#include "engine/syscalls/syscall.h"

// What a call did to what is mapped, from its arguments and result alone.
namespace rchk::syscalls {

enum class Backing : uint8_t {
  kAnonymous,
  kDescriptor,  // the file that `descriptor` is
};

// `range` is mapped anew, over whatever was there. Its pages read as the file, or as zero.
struct MapEffect {
  AddressRange range;      // whole pages; huge ones for MAP_HUGETLB
  uint8_t protection = 0;  // PROT_READ, PROT_WRITE, PROT_EXEC, as the call has it
  bool shared = false;
  bool grows_down = false;
  bool heap = false;  // made by brk
  Backing backing = Backing::kAnonymous;
  int32_t descriptor = -1;
  uint64_t offset_bytes = 0;
  bool operator==(const MapEffect&) const = default;
};

struct UnmapEffect {
  AddressRange range;
  bool operator==(const UnmapEffect&) const = default;
};

struct ProtectEffect {
  AddressRange range;
  uint8_t protection = 0;
  bool to_mapping_start = false;  // PROT_GROWSDOWN: from the start of the mapping at range.begin
  bool operator==(const ProtectEffect&) const = default;
};

// `from` became `to`; the part that both sizes have kept its contents, the rest of `to` is fresh.
struct RemapEffect {
  AddressRange from;
  AddressRange to;
  bool keep_old = false;  // MREMAP_DONTUNMAP: `from` stays mapped, and reads as fresh
  bool operator==(const RemapEffect&) const = default;
};

// How a discarded page reads afterwards.
enum class Refill : uint8_t {
  kFresh,  // as when it was mapped: zero, or the file as it is now; shared ones are unchanged
  kZero,   // MADV_REMOVE: a hole was made in the file
};

// The mapped parts of `range` lost their contents.
struct DiscardEffect {
  AddressRange range;
  Refill refill = Refill::kFresh;
  bool operator==(const DiscardEffect&) const = default;
};

// What a later fork makes of the range.
enum class ForkAdvice : uint8_t { kCopy, kOmit, kWipe, kKeep };
struct ForkAdviceEffect {
  AddressRange range;
  ForkAdvice advice = ForkAdvice::kCopy;
  bool operator==(const ForkAdviceEffect&) const = default;
};

using AddressSpaceEffect = std::variant<MapEffect, UnmapEffect, ProtectEffect, RemapEffect,
                                        DiscardEffect, ForkAdviceEffect>;

struct AddressSpaceEffects {
  std::vector<AddressSpaceEffect> effects;  // in order
  // What changed cannot be told from the call: read /proc/PID/maps and compare it with what was
  // mapped (shmat and shmdt, remap_file_pages, calls that fail half-way).
  bool reread_maps = false;
  // What was mapped and protected can be executed where it can be read: read /proc/PID/maps. For
  // the caller to set, who knows the personality (READ_IMPLIES_EXEC).
  bool reread_protection = false;
  // Pages that may or may not have been discarded: compare their contents.
  std::vector<AddressRange> doubtful_contents;
};

// For a call of Class::kAddressSpace, with `result` as it returned. Others give nothing.
// `previous_break` is what brk returned last; the start of the heap before the first call.
AddressSpaceEffects address_space_effects(const Call& call, int64_t result,
                                          GuestAddress previous_break);

}  // namespace rchk::syscalls
