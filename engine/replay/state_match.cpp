#include "engine/replay/state_match.h"

#include <cstring>

namespace rchk::replay {

namespace {

constexpr size_t kMostWords = 12;

// Whether the string instruction at pc, `from` being its state on arrival, passes through `to`
// (SDM vol. 2, REP): each iteration takes one from rcx and moves rsi and rdi by the same step.
bool passes_through(const Registers& from, const Registers& to) {
  if (to.rcx == 0 || to.rcx > from.rcx) return false;
  const uint64_t done = from.rcx - to.rcx;
  const auto steps_evenly = [done](uint64_t a, uint64_t b) {
    const int64_t moved = static_cast<int64_t>(b - a);
    if (moved == 0) return true;
    return done != 0 && moved % static_cast<int64_t>(done) == 0 &&
           std::abs(moved / static_cast<int64_t>(done)) <= 8;
  };
  return steps_evenly(from.rsi, to.rsi) && steps_evenly(from.rdi, to.rdi);
}

}  // namespace

StateMatcher::StateMatcher(const StateTarget& target, translate::Engine& engine)
    : target_(target), engine_(engine) {
  probe_.expected = target.registers;
  probe_.inside_rep = engine.is_rep_string(target.registers.pc());
}

Result<std::optional<StateMatcher::Match>> StateMatcher::examine(Guest& guest) {
  ++candidates_;
  if (!probe_.inside_rep || guest.registers.rcx == target_.registers.rcx) {
    RCHK_TRY_ASSIGN(const bool equal, matches(guest));
    if (equal) return std::optional<Match>(Match{});
    if (!probe_.inside_rep) return std::optional<Match>();
  }
  if (!passes_through(guest.registers, target_.registers)) return std::optional<Match>();
  const uint64_t iterations = guest.registers.rcx - target_.registers.rcx;
  if (iterations == 0) return std::optional<Match>();
  // The iterations write memory: try them on a copy, and take the copy's place if it matches.
  RCHK_TRY_ASSIGN(Guest trial, guest.fork());
  RCHK_TRY(engine_.attach(*trial.puppet));
  RCHK_TRY(engine_.run_rep_iterations(trial.registers, iterations));
  trial.position.rep_iterations = iterations;
  RCHK_TRY_ASSIGN(const bool equal, matches(trial));
  if (equal) {
    guest = std::move(trial);
    return std::optional<Match>(Match{iterations});
  }
  RCHK_TRY(engine_.attach(*guest.puppet));
  return std::optional<Match>();
}

Result<bool> StateMatcher::matches(Guest& guest) {
  if (!same_guest_state(target_.registers, guest.registers)) return false;
  // Memory first: vector state costs a system call each time and rarely tells states apart.
  std::vector<uint8_t> want(kPageSize), have(kPageSize);
  for (const GuestAddress page : target_.pages) {
    const size_t wanted = target_.read(page, want);
    const size_t got = guest.puppet->read_memory(page, have);
    if (wanted < kPageSize || got < kPageSize) {
      // Not mapped in one of them: a page that was unmapped since is no part of the state.
      if (wanted == got) continue;
      if (wanted == 0) continue;
      return false;
    }
    if (std::memcmp(want.data(), have.data(), kPageSize) == 0) continue;
    // The last word that differs changes latest in the common loops over an array.
    for (size_t offset = kPageSize; offset >= sizeof(uint64_t);) {
      offset -= sizeof(uint64_t);
      uint64_t a, b;
      std::memcpy(&a, want.data() + offset, sizeof(a));
      std::memcpy(&b, have.data() + offset, sizeof(b));
      if (a == b) continue;
      refine(page + offset, a);
      break;
    }
    return false;
  }
  if (!target_.extended_state.empty()) {
    RCHK_TRY(guest.puppet->set_registers(guest.registers));
    RCHK_TRY_ASSIGN(const ExtendedState state, guest.puppet->extended_state());
    if (!same_extended_state(target_.extended_state, state)) return false;
  }
  return true;
}

void StateMatcher::refine(GuestAddress word, uint64_t expected) {
  if (probe_.inside_rep) return;  // the words on arrival are not those of the target
  for (const translate::WordProbe& known : probe_.words) {
    if (known.address == word) return;
  }
  if (probe_.words.size() >= kMostWords) probe_.words.pop_back();
  // The newest is compared first: it told the latest candidate apart.
  probe_.words.insert(probe_.words.begin(), {word, expected});
}

}  // namespace rchk::replay
