#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/registers.h"
#include "base/result.h"
#include "base/types.h"
#include "engine/translate/host.h"

namespace rchk::translate {

// What stops a run, or is remembered by it, besides its limit.
enum class WatchKind : uint8_t {
  kWrite,   // a store that changed a watched byte
  kRead,    // a load of a watched byte
  kAccess,  // a load or a store, changed or not
};

struct Watchpoint {
  AddressRange range;  // any length
  WatchKind kind = WatchKind::kWrite;
  bool operator==(const Watchpoint&) const = default;
};

// A word of memory that must hold a value for a state to be a candidate.
struct WordProbe {
  GuestAddress address;  // readable for 8 bytes
  uint64_t expected = 0;
  bool operator==(const WordProbe&) const = default;
};

// Recognises a recorded state: pc, the general registers (rflags only in kGuestFlags) and words
// of memory are compared inline; a match stops the run for its caller to compare the rest.
struct StateProbe {
  Registers expected;
  // pc is at an instruction with a rep prefix that may have been under way: rcx, rsi and rdi are
  // not compared, nor the flags.
  bool inside_rep = false;
  std::vector<WordProbe> words;
  bool operator==(const StateProbe&) const = default;
};

enum class HitPolicy : uint8_t {
  kStop,      // stop at the first hit
  kRemember,  // keep going, and keep the last hit: for searches in reverse
};

struct Probes {
  std::vector<GuestAddress> breakpoints;
  std::vector<Watchpoint> watchpoints;
  HitPolicy policy = HitPolicy::kStop;
  std::optional<StateProbe> state;  // always stops
};

enum class StopReason : uint8_t {
  kInstructionLimit,  // exactly as many instructions as asked for were retired
  kSyscall,           // pc at a `syscall` instruction, not executed
  kTrapped,           // pc at CPUID, RDTSC, RDTSCP, RDRAND, RDSEED or XSAVEC, not executed
  kBreakpoint,        // pc at a breakpoint, its instruction not executed
  kWatchpoint,        // pc behind the instruction that hit the watchpoint
  kStateCandidate,    // pc where the state probe matched
  kFault,             // pc at the instruction that raised a signal; see Stop::signal
  kUnsupported,       // pc at an instruction that cannot be translated; Stop::detail names it
  kUnlogged,          // of run_logged(): pc at an instruction that it does not pass
};

struct Stop {
  StopReason reason = StopReason::kInstructionLimit;
  uint64_t retired = 0;  // instructions retired by this run; a rep string counts one
  uint32_t probe = 0;    // index into breakpoints or watchpoints
  int signal = 0;        // kFault: SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP
  int signal_code = 0;
  GuestAddress fault_address = {};
  const char* detail = "";
};

// A hit under HitPolicy::kRemember. `retired` counts from the run's start to the state *before*
// the hitting instruction.
struct Hit {
  uint64_t retired = 0;
  bool is_watchpoint = false;
  uint32_t probe = 0;
};

struct RunRequest {
  uint64_t instruction_limit = 0;  // at least 1
  // Whether a breakpoint or state probe at the pc the run starts from counts.
  bool report_at_start = false;
};

// The guest in front of an instruction that run_logged() passed, and what that overwrote.
struct LoggedInstruction {
  Registers registers;
  // Aligned words of eight bytes, what they held before, and how many there are.
  GuestAddress words[2];
  uint64_t old_words[2] = {};
  uint8_t word_count = 0;
};

// Counters for tuning and for `rchk info`.
struct Statistics {
  uint64_t blocks = 0, guest_instructions = 0, cache_bytes = 0;
  uint64_t host_stops = 0, misses = 0, invalidations = 0, flushes = 0, remade = 0;
};

// When blocks are made anew so that they run faster. Tests make it often.
struct ImprovementPace {
  uint32_t hot_count = 1024;           // executions of an exit that make its block hot
  uint64_t shortest_window = 1 << 19;  // instructions between two looks, in the beginning
  uint64_t longest_window = 1 << 24;
};

// Runs guest code by translating it block by block into a code cache that counts retired guest
// instructions exactly. Owns the cache (a shared memfd that every host of one guest maps) and
// everything known of the code; the guest's memory and thread belong to the Host.
//
// Position of every stop is exact: `registers` are what the guest would have natively.
// System calls and trapped instructions are never executed: the caller applies their recorded
// effects and moves pc on. Not thread-safe; one engine drives one host at a time.
class Engine {
 public:
  static Result<std::unique_ptr<Engine>> create(const ImprovementPace& pace = {});
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Makes `host` the one that run() drives: maps what it lacks, drops translations whose code is
  // not what this host has. Cheap when nothing changed. `host` must outlive its use.
  Result<void> attach(Host& host);

  // Which breakpoints, watchpoints and state to look for from now on. Cheap when unchanged.
  Result<void> set_probes(Probes probes);

  // Runs the guest from `registers`, and leaves in it the registers at the stop.
  // REQUIRES: attach() was called. Errors are the host's (kGone when its process died).
  Result<Stop> run(Registers& registers, const RunRequest& request);

  // As run(), and appends to `passed` the state in front of each instruction that was retired.
  // Passes only those that change nothing but general registers, the flags of arithmetic and eight
  // bytes of memory, and do not fault; ends in front of others, with kUnlogged. Some 50 ns an
  // instruction. REQUIRES: no probes are set; limit > 0.
  Result<Stop> run_logged(Registers& registers, uint64_t limit,
                          std::vector<LoggedInstruction>& passed);

  // Under HitPolicy::kRemember: the last hit of the last run(), if there was one.
  std::optional<Hit> last_hit() const;

  // Performs exactly `iterations` iterations of the string instruction at pc, fewer than would
  // complete it: pc stays, rcx, rsi and rdi move on.
  // REQUIRES: pc is at an instruction with a rep prefix and rcx > iterations.
  Result<void> run_rep_iterations(Registers& registers, uint64_t iterations);
  // True if the instruction at pc is a string instruction with a rep prefix.
  bool is_rep_string(GuestAddress pc);
  // Whether an indirect jump, call or return is at pc, to an address that is not canonical: the
  // processor raises #GP at the branch then (SDM vol. 2, JMP, CALL, RET).
  bool branches_nowhere(const Registers& registers);

  // Memory that the instruction at pc may write, as ranges computed from `registers`; more than
  // it writes is allowed, less never. Nothing when that cannot be told.
  std::optional<std::vector<AddressRange>> possible_writes(const Registers& registers);

  // Says that code in `range` may have changed in the attached host (a system call wrote there,
  // mappings changed): translations of it are dropped.
  void invalidate(AddressRange range);

  // Says that the guest maps `range` now: what the engine keeps there in the host moves away.
  // Call before the mapping is made.
  Result<void> make_room(AddressRange range);

  Statistics statistics() const;

 private:
  class Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rchk::translate
