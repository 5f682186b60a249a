#pragma once

#include <cstddef>
#include <cstdint>

namespace rchk::translate {

// What the puppet and the tracer tell each other without a system call: a page that both map, and
// tables behind it. Emitted code reaches them with a 32-bit displacement: they lie below 2 GiB in
// the puppet, or, where the guest has all of that, in front of each arena of translated code.
//
//   base                        the state page            read and write
//   + kWatchListOffset          watched words             read and write
//   + kCountersOffset           counters of exits         read and write
//   + kStepLogOffset            logged instructions       read and write
//   + kBranchTablesOffset       branch tables             read only in the puppet
//   + kWatchFilterOffset        which addresses may hit   read only in the puppet
//
// Emitted code knows the offsets.
struct StatePage {
  uint64_t rcx = 0;  // the guest's, while emitted code uses the register
  uint64_t rax = 0;
  uint64_t r11 = 0;        // the guest's, while the register holds the counter
  uint64_t count = 0;      // the counter, while the guest's r11 is in the register, and at exits
  uint64_t target = 0;     // guest pc of an indirect jump under way
  uint64_t flags = 0;      // lahf and seto of the guest's flags, while emitted code uses them
  uint64_t return_to = 0;  // where a shared routine goes back to
  uint64_t scratch[4] = {};
  uint64_t filter_index = 0;  // while an address is looked up in the watch filter
  uint64_t lent = 0;        // the guest's register that holds a far operand's address (FarOperand)
  uint32_t exit_site = 0;   // which exit was taken: index into the engine's exit sites
  uint32_t hit_site = 0;    // last remembered hit: index into the exit sites, 0 for none
  uint64_t hit_count = 0;   // the counter at that hit
  uint32_t watch_site = 0;  // site of the store being looked at; that of the stop behind it is next
  uint32_t watch_remember = 0;    // whether hits are remembered instead of stopping
  uint32_t hit_probe_plus_1 = 0;  // of the last watchpoint hit
  uint32_t x87_place = 0;         // the last x87 instruction: see X87Places
  uint32_t log_site = 0;          // of the instruction that is being logged
  uint64_t log_used = 0;          // bytes of the step log
  // FIP, FCS and FOP, FDP, FDS as FNSTENV stores them, where translated code keeps them itself.
  uint32_t x87_pointers[4] = {};
};

// A watched word: `address` is a multiple of 8, `mask` has the bits of the watched bytes set.
struct WatchedWord {
  uint64_t address = 0;  // 0 ends the list
  uint64_t mask = 0;
  uint64_t value = 0;  // when last looked at
  uint64_t probe_plus_1 = 0;
};

// The guest in front of one instruction, as emitted code logs it.
struct LoggedStep {
  uint64_t registers[16] = {};  // by their numbers
  uint64_t flags = 0;           // as in StatePage::flags
  uint64_t count = 0;           // the counter
  uint64_t store = 0;           // at most eight bytes from there on may be stored to; 0: none
  uint64_t old[2] = {};         // the aligned words that hold the first and the last of those
  uint64_t site = 0;
  uint64_t unused[2] = {};
};
static_assert(sizeof(LoggedStep) == 192);
inline constexpr uint64_t kLoggedSteps = 1024;

inline constexpr uint64_t kBranchTableEntries = 65536;
inline constexpr uint64_t kBranchTableBytes = kBranchTableEntries * 8;
inline constexpr uint64_t kBranchTables = 4;  // one for each flavour that runs on by itself
inline constexpr uint64_t kWatchListBytes = 256 << 10;
inline constexpr uint64_t kCounters = 1 << 18;  // of 4 bytes each
// One byte for every 64 of memory, and the same again every 4 MiB: not 0 if a store there may hit.
inline constexpr uint64_t kWatchFilterBytes = 65536;
inline constexpr unsigned kWatchGranuleShift = 6;

// Offsets from the base.
inline constexpr uint64_t kWatchListOffset = 4096;
inline constexpr uint64_t kCountersOffset = kWatchListOffset + kWatchListBytes;
inline constexpr uint64_t kStepLogOffset = kCountersOffset + kCounters * 4;
inline constexpr uint64_t kWritableBytes = kStepLogOffset + kLoggedSteps * sizeof(LoggedStep);
inline constexpr uint64_t kBranchTablesOffset = kWritableBytes;
inline constexpr uint64_t kWatchFilterOffset =
    kBranchTablesOffset + kBranchTables * kBranchTableBytes;
inline constexpr uint64_t kBaseBytes = kWatchFilterOffset + kWatchFilterBytes;

constexpr uint64_t counter_offset(uint32_t counter) { return kCountersOffset + counter * 4ull; }
constexpr uint64_t branch_table_offset(unsigned which) {
  return kBranchTablesOffset + which * kBranchTableBytes;
}

// Where emitted code finds the base.
struct StateView {
  uint64_t address = 0;
  bool is_beside = false;  // within 2 GiB of the code; else below 2 GiB
};

}  // namespace rchk::translate
