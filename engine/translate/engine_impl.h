#pragma once

#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine/translate/access.h"
#include "engine/translate/block_store.h"
#include "engine/translate/code_cache.h"
#include "engine/translate/code_pages.h"
#include "engine/translate/engine.h"
#include "engine/translate/translator.h"

namespace rchk::translate {

// The rflags whose arithmetic flags are `packed`, by lahf and seto al.
inline uint64_t unpacked_flags(uint64_t rflags, uint64_t packed) {
  return (rflags & ~uint64_t{0x8d5}) | ((packed >> 8) & 0xd5) | (packed & 1) << 11;
}

// The engine's parts, spread over engine_*.cpp: running, making blocks, probes, code changes.
class Engine::Impl final : public ProbeView {
 public:
  Impl(std::unique_ptr<CodeCache> cache, const ImprovementPace& pace);

  Result<void> attach(Host& host);
  Result<void> set_probes(Probes probes);
  Result<Stop> run(Registers& registers, const RunRequest& request);
  Result<Stop> run_logged(Registers& registers, uint64_t limit,
                          std::vector<LoggedInstruction>& passed);
  Result<void> run_rep_iterations(Registers& registers, uint64_t iterations);
  bool is_rep_string(GuestAddress pc);
  bool branches_nowhere(const Registers& registers);
  std::optional<std::vector<AddressRange>> possible_writes(const Registers& registers);
  void invalidate(AddressRange range);
  Result<void> make_room(AddressRange range);
  Statistics statistics() const;
  std::optional<Hit> last_hit() const { return last_hit_; }

  std::optional<uint32_t> remembered_breakpoint(uint64_t pc) const override;
  const StateProbe* state_probe(uint64_t pc) const override;

 private:
  // One run() under way.
  struct Progress {
    Registers& registers;
    uint64_t limit;
    uint64_t retired = 0;
    bool counts_here = false;  // whether probes at the present pc count
    bool store_once = false;   // the next instruction stores to code: see code_written()
    bool look_once = false;    // the next instruction may access watched memory
    bool logs = false;         // of run_logged()
  };
  // kKept: found again; kLanding: and indirect jumps come to it; kOnce: never found.
  enum class BlockUse : uint8_t { kKept, kLanding, kOnce };
  // What a pc leads to: a block to enter, or a stop right there.
  struct Entry {
    Block* block = nullptr;
    Stop stop;
  };

  // engine_run.cpp
  Result<std::optional<Stop>> advance(Progress& progress);
  Result<std::optional<Stop>> enter(Progress& progress, Block& block, int64_t budget);
  // `stop` is what there is at the instruction instead of a block.
  Result<std::optional<Stop>> without_block(Progress& progress, const Stop& stop);
  Result<void> settle_x87_pointer();
  std::optional<Stop> left_through_exit(Progress& progress, int64_t budget);
  Result<std::optional<Stop>> signalled(Progress& progress, const HostStop& stop, int64_t budget);
  void note_inline_hit(const Progress& progress, int64_t budget);
  std::optional<Stop> probe_here(Progress& progress, uint64_t left);
  // `stop` is what an instruction that is not translated led to: nothing when it was carried out.
  std::optional<Stop> far_return(Progress& progress, const Stop& stop);
  bool state_matches(const Registers& registers);

  // engine_log.cpp
  Stop left_unlogged(Progress& progress, int64_t budget);
  void take_log(Registers rest, std::vector<LoggedInstruction>& passed);

  // engine_blocks.cpp
  Result<Entry> entry_for(const BlockKey& key, uint8_t depth);
  Result<Block*> translate_eagerly(uint64_t pc, Flavour flavour, uint8_t depth, bool land);
  Result<Entry> make_block(const BlockKey& key, uint8_t depth, BlockUse use,
                           Tier tier = Tier::kPlain);
  Result<void> resolve_miss(Progress& progress, const ExitSite& site, Flavour flavour);
  void note_code(Block& block, const Trace& trace);
  void drop_blocks_at(uint64_t pc);
  void flush();
  bool ends_trace(uint64_t pc, Flavour flavour) const;

  // engine_profile.cpp
  // Makes blocks anew, so that they run faster: looks at what the last stay in the cache ran.
  Result<void> improve(uint64_t ran, uint64_t pc);
  Result<void> count_around(Block& block);
  Result<void> remake_hot_blocks();
  void learn_directions(const Block& block);
  Result<void> remake(Block& block, Tier tier);

  // engine_watch.cpp
  Result<void> set_watchpoints(const std::vector<Watchpoint>& watchpoints);
  void read_watched();
  Result<HostStop> forget_watched_word(const HostStop& stop);
  std::optional<uint32_t> watch_hit(const std::vector<MemoryAccess>& accesses);
  Result<std::optional<Stop>> watched_step(Progress& progress);
  std::optional<TraceStep> step_at(GuestAddress pc);

  // engine_code.cpp
  void drop_page(GuestAddress page);
  void drop_unprotected(GuestAddress page);
  Result<std::optional<Stop>> store_to_code(Progress& progress);
  Result<bool> code_written(Progress& progress, GuestAddress address);

  std::unique_ptr<CodeCache> cache_;
  BlockStore store_;
  CodePages pages_;
  Trace trace_;  // of the block being made
  Translator::Scratch scratch_;
  X87Places x87_places_;
  std::vector<AddressRange> code_ranges_;
  std::vector<GuestAddress> code_page_list_;
  Host* host_ = nullptr;
  Probes probes_;
  std::unordered_map<uint64_t, uint32_t> breakpoints_;
  std::optional<Hit> last_hit_;
  uint32_t last_direct_exit_ =
      0;  // the exit through which the last run of the cache ended, if linkable
  bool missed_indirect_ = false;
  bool counted_here_ = false;   // Progress::counts_here where the cache was entered
  bool watches_reads_ = false;  // some watchpoint wants loads: the engine looks at each access
  ImprovementPace pace_;
  uint64_t ran_ = 0;        // instructions retired by all runs before this one
  uint64_t next_look_ = 0;  // at how many improve() is called again
  uint64_t look_window_ = 0;
  Block* stopped_in_ = nullptr;  // where a check of the limit ended the last stay in the cache
  Statistics statistics_;
};

}  // namespace rchk::translate
