#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/types.h"
#include "engine/translate/pool.h"

namespace rchk::translate {

// What kind of translation of the same code.
enum class Flavour : uint8_t {
  kFast,     // checks the instruction limit on cycles only
  kPrecise,  // runs a block only when the limit lies at or behind its end
  kWatch,    // as kPrecise, and watches memory accesses
  kLogged,   // as kPrecise, and logs the state in front of each instruction
  kPartial,  // exactly so many instructions, then stops; nothing is chained
  kPartialWatch,
  kPartialLogged,
};

inline bool is_partial(Flavour flavour) { return flavour >= Flavour::kPartial; }
// Those that are chained and enter a block only when the limit lies at or behind its end.
inline bool is_precise(Flavour flavour) {
  return flavour != Flavour::kFast && !is_partial(flavour);
}
inline bool watches(Flavour flavour) {
  return flavour == Flavour::kWatch || flavour == Flavour::kPartialWatch;
}
inline bool logs(Flavour flavour) {
  return flavour == Flavour::kLogged || flavour == Flavour::kPartialLogged;
}

// Names a translation: where its code starts, and how it was made.
struct BlockKey {
  uint64_t pc = 0;
  Flavour flavour = Flavour::kFast;
  uint8_t instructions = 0;  // of partial flavours: how many; else 0

  bool operator==(const BlockKey&) const = default;
};

// The register that holds the address of an rip-relative operand which the copy of its instruction
// cannot reach. Needs no REX prefix and no SIB byte.
enum class FarOperand : uint8_t { kNone, kRsi, kRdi, kRbx };

// Where a guest's instruction lies in the cache and what the machine's registers mean there.
// There is one for each instruction of every block, so they are kept small.
struct InstructionRecord {
  int32_t pc_delta = 0;           // from the block's pc
  uint16_t cache_offset = 0;      // from the block's entry
  int8_t count_delta = 0;         // instructions retired before it = counter + count_delta
  bool r11_is_guest : 1 = false;  // the counter is in StatePage::count, r11 in the register
  bool rcx_spilled : 1 = false;   // the guest's rcx is in StatePage::rcx
  bool flags_saved : 1 = false;   // rax and flags are in StatePage: inside the state probe
  FarOperand far : 2 = FarOperand::kNone;  // the guest's register is in StatePage::lent
  bool traps : 1 = false;                  // int3 and its like: the signal comes behind it
};
static_assert(sizeof(InstructionRecord) == 8);

// How much is known of how a block runs: see EdgeProfile.
enum class Tier : uint8_t {
  kPlain,    // nothing
  kCounted,  // seems to run often: counts how often each of its exits is taken
  kHot,      // follows the way that was mostly taken
};

// Lives in its BlockStore's pool, with what the spans name.
struct Block {
  BlockKey key;
  uint64_t entry = 0, end = 0;          // in the puppet
  uint64_t checked_entry = 0;           // checks the limit first; 0 until one was needed
  uint64_t landing = 0;                 // verifies StatePage::target first; 0 if there is none
  uint8_t* landing_mismatch = nullptr;  // distance of the jump to the bucket's next landing
  uint8_t depth = 0;                    // blocks that may run unchecked before this one, at most
  uint8_t instructions = 0;
  Tier tier = Tier::kPlain;
  bool flags_dead_at_entry = false;
  bool checks_first = false;  // checks the limit itself before any exit
  bool landed = false;        // the branch table leads to the landing
  bool dead = false;
  uint64_t return_point = 0;               // behind a call at its end, else 0
  uint32_t first_site = 0, last_site = 0;  // its exit sites: from the first up to before the last
  uint32_t incoming = 0;                   // first of the sites linked to it: see ExitSite::next
  std::span<InstructionRecord> records;
  std::span<AddressRange> code;  // of the guest: where it was translated from
};

inline bool is_translated_from(const Block& block, AddressRange range) {
  for (const AddressRange& code : block.code) {
    if (code.overlaps(range)) return true;
  }
  return false;
}

enum class ExitKind : uint8_t {
  kIndirect,       // an indirect jump that found no landing
  kArrive,         // at `pc`: whatever is to be done there
  kDirect,         // as kArrive, and can be linked to a block there
  kCandidate,      // the state probe's inline comparison matched at `pc`
  kStale,          // the code of the block at `pc` is not what was translated
  kX87Pointer,     // at `pc`, whose instruction needs FIP to be right
  kLook,           // at `pc`, whose instruction may access watched memory
  kWatchStop,      // a watchpoint hit; `pc` is behind the instruction
  kRememberedHit,  // no exit: describes a remembered hit
  kLogged,         // no exit: describes a logged instruction
};

// A place where emitted code leaves for the tracer.
struct ExitSite {
  ExitKind kind = ExitKind::kArrive;
  uint8_t unchecked_depth = 0;  // kDirect: blocks run since the last check, at most
  int16_t count_delta = 0;      // instructions retired at `pc` = counter + count_delta
  bool is_watchpoint = false;
  bool is_conditional = false;  // kDirect: of the conditional jump at the owner's pc + branch_delta
  bool leaves_when_taken = false;  // kDirect: of a conditional jump that the block follows else
  uint32_t probe = 0;
  uint32_t counter = 0;      // how often it was left through: see EdgeProfile; 0: not counted
  int32_t branch_delta = 0;  // kDirect
  uint64_t pc = 0;
  Block* owner = nullptr;
  Block* linked = nullptr;      // kDirect
  uint8_t* distance = nullptr;  // kDirect: 32-bit distance of the jump, in the tracer's view
  uint64_t distance_end = 0;    // kDirect: the address behind it, in the puppet
  uint64_t stub = 0;            // kDirect: where the jump goes while it is not linked
  uint32_t next = 0;            // kDirect: another that waits for, or is linked to, the same block
};

// All exit sites, in memory of a pool. A site keeps its place.
class SiteTable {
 public:
  explicit SiteTable(Pool& pool) : pool_(pool) {}
  uint32_t size() const { return size_; }
  ExitSite& operator[](uint32_t index) { return (*chunks_[index / kChunk])[index % kChunk]; }
  uint32_t add(const ExitSite& site) {
    if (size_ == chunks_.size() * kChunk) {
      chunks_.push_back(static_cast<Chunk*>(pool_.allocate(sizeof(Chunk), alignof(Chunk))));
    }
    new (&(*this)[size_]) ExitSite(site);
    return size_++;
  }
  // REQUIRES: the pool is released before anything is added.
  void clear() {
    chunks_.clear();
    size_ = 0;
  }

 private:
  static constexpr uint32_t kChunk = 512;
  using Chunk = std::array<ExitSite, kChunk>;
  Pool& pool_;
  std::vector<Chunk*> chunks_;
  uint32_t size_ = 0;
};

// At most so many instructions in a block, and blocks in a row without a check.
inline constexpr unsigned kMaxBlockInstructions = 64;
inline constexpr unsigned kMaxDepth = 16;
// No more instructions than this retire between two checks of the limit in kFast: blocks of all
// depths, then one that checks the limit itself.
inline constexpr unsigned kCheckBound = (kMaxDepth + 2) * kMaxBlockInstructions;

}  // namespace rchk::translate

template <>
struct std::hash<rchk::translate::BlockKey> {
  size_t operator()(const rchk::translate::BlockKey& key) const noexcept {
    const uint64_t mixed =
        (key.pc << 11) ^ (uint64_t{key.instructions} << 3) ^ static_cast<uint64_t>(key.flavour);
    return mixed * 0x9e3779b97f4a7c15ull >> 17;
  }
};
