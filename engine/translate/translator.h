#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include "engine/translate/block.h"
#include "engine/translate/code_cache.h"
#include "engine/translate/engine.h"
#include "engine/translate/trace.h"
#include "engine/translate/x87.h"

namespace rchk::translate {

// What is looked for, as the translator asks for it.
class ProbeView {
 public:
  virtual ~ProbeView() = default;
  // The breakpoint at `pc` that is to be remembered inline.
  virtual std::optional<uint32_t> remembered_breakpoint(uint64_t pc) const = 0;
  // The state probe whose pc is `pc`.
  virtual const StateProbe* state_probe(uint64_t pc) const = 0;
};

struct TranslationRequest {
  BlockKey key;
  uint8_t depth = 0;
  // Whether probes at the first instruction count; partial flavours leave them to the engine.
  const ProbeView* probes = nullptr;
  // Watching flavours leave in front of each instruction that may access watched memory.
  bool leaves_at_accesses = false;
  // Whether indirect jumps will come to it.
  bool with_landing = false;
  // Where the block's exits are to be counted; null if they are not.
  EdgeProfile* profile = nullptr;
  X87Places* x87_places = nullptr;  // not null
  // The processor loses FIP and its fellows: emitted code keeps them.
  bool keeps_x87_pointers = false;
};

// Emits one block for a trace: copies of its instructions, counting, checks and exits.
// One object for one block.
class Translator {
 private:
  struct Exit {
    uint64_t target;
    int delta;      // to be added to the counter on the way
    uint8_t depth;  // blocks run since the last check
    bool r11_in;    // the guest's r11 is in the register
  };
  struct SideExit {
    uint8_t* distance;  // of the conditional jump
    uint64_t distance_end;
    Exit exit;
    uint64_t branch_pc;
    bool when_taken;
  };
  struct ColdExit {
    uint8_t* distance;  // of the jump that leads to it
    uint64_t distance_end;
    uint32_t site;
    bool rcx_saved;
  };
  struct Literal {
    uint8_t* displacement;
    uint64_t displacement_end;
    uint64_t value;
  };
  // A store that may hit: run out of line, then compared.
  struct ColdWatch {
    uint8_t* distance;
    TraceStep step;
    int index;
    bool r11_in;
    uint64_t back;
    uint32_t site;
  };

 public:
  // Memory that is used again for block after block.
  struct Scratch {
    std::vector<InstructionRecord> records;  // of the block translated last
    std::vector<SideExit> side_exits;
    std::vector<ColdExit> cold_exits;
    std::vector<Literal> literals;
    std::vector<ColdWatch> cold_watches;
  };

  Translator(Arena& arena, SiteTable& sites, Scratch& scratch);

  // `trace` has at least one step. Fills in `block` but for its records, which are in the scratch
  // memory, and its code; the caller registers and links it.
  void translate(const Trace& trace, const TranslationRequest& request, Block& block);

  // More code than this is never emitted for one block.
  static constexpr uint64_t kMaxBytes = 64 << 10;

 private:
  void plan_check(const Trace& trace);
  void emit_precise_check();
  void emit_code_check(const Trace& trace);
  void emit_step(const TraceStep& step);
  void emit_check(const TraceStep& step);
  void emit_probes(const TraceStep& step);
  void emit_state_probe(const StateProbe& probe, const TraceStep& step);
  void emit_compare(Register number, uint64_t expected, std::vector<uint8_t*>& failures);
  // Put flags away into the state page, and back; rax is free in between.
  void save_flags();
  void restore_flags();
  void emit_copy(const TraceStep& step);
  void emit_far_copy(const TraceStep& step);
  bool reaches(uint64_t operand) const;
  // REQUIRES of these: the instruction has an rip-relative operand.
  static uint64_t operand_of(const TraceStep& step);
  static FarOperand far_operand(const TraceStep& step);
  // Of the REX prefix, if there is one, or the first byte of VEX or EVEX.
  static size_t prefix_offset(const TraceStep& step);
  // Leaves in front of an instruction that needs FIP, unless it is right.
  void emit_x87_check(const TraceStep& step);
  // In front of an instruction, and behind the copy of it.
  void emit_x87_pointers_before(const TraceStep& step);
  void emit_x87_pointers_behind(const TraceStep& step);
  void emit_conditional(const TraceStep& step);
  void emit_counter_jump(const TraceStep& step);
  void emit_call(const TraceStep& step);
  void emit_indirect(const TraceStep& step);
  void emit_indirect_operand(const TraceStep& step);
  void emit_push(uint64_t value);
  void emit_end(const Trace& trace);
  void emit_side_exits();
  void emit_cold_exits();
  void emit_literals();

  // Logging: translator_log.cpp.
  void emit_log(const TraceStep& step);

  // Watching stores: translator_watch.cpp.
  void emit_watched_copy(const TraceStep& step);
  void emit_look(const TraceStep& step);
  void emit_watched_push(const TraceStep& step);
  void emit_operand_address(const TraceStep& step);
  uint8_t* emit_watch_filter();
  uint32_t add_watch_sites(const TraceStep& step, uint64_t next_pc);
  // Code that compares the watched words, behind the store; goes on at `back`, or behind itself
  // if that is 0. rcx is the guest's before and after.
  void emit_compare_watched(uint32_t site, bool r11_in, uint64_t back);
  void emit_cold_watches();
  bool looks() const { return watches(request_->key.flavour) && request_->leaves_at_accesses; }
  bool compares() const { return watches(request_->key.flavour) && !request_->leaves_at_accesses; }

  void take_r11_in();
  void take_r11_out();
  void record(const TraceStep& step, bool rcx_spilled);
  // Code that leaves for `target`, linkable if `kind` says so. Returns the exit's site.
  uint32_t emit_exit(Emitter& out, ExitKind kind, const Exit& exit);
  // Counts in emitted code how often it is left through the site; rcx is the guest's.
  void emit_count(Emitter& out, uint32_t site);
  // Adds 1 to the counter; ecx is free.
  void emit_increment(Emitter& out, uint32_t counter);
  bool counts() const { return counts_; }
  uint32_t add_site(ExitKind kind, uint64_t pc, int count_delta);
  // Puts the stub of an exit where cold code lies; returns its address.
  uint64_t cold_stub(uint32_t site, bool rcx_saved);
  static void point(uint8_t* distance, uint64_t distance_end, uint64_t target);
  uint8_t depth_now() const { return checked_ ? 0 : block_->depth; }
  bool partial() const { return is_partial(request_->key.flavour); }
  unsigned table() const { return static_cast<unsigned>(request_->key.flavour); }

  Arena& arena_;
  SiteTable& sites_;
  Emitter out_;   // code that runs
  Emitter cold_;  // stubs, kept apart so that they do not thin out what runs
  const TranslationRequest* request_ = nullptr;
  Block* block_ = nullptr;
  int index_ = 0;      // instructions before the current one
  int added_ = 0;      // what the check added to the counter in advance
  int check_at_ = -1;  // the step in front of which the check is made
  int check_adds_ = 0;
  bool checked_ = false;  // since the block's entry
  bool r11_in_ = false;
  bool counts_ = false;  // how often each exit is taken
  std::vector<InstructionRecord>& records_;
  std::vector<SideExit>& side_exits_;
  std::vector<ColdExit>& cold_exits_;
  std::vector<Literal>& literals_;
  std::vector<ColdWatch>& cold_watches_;
};

}  // namespace rchk::translate
