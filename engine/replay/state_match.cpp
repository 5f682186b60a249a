#include "engine/replay/state_match.h"

#include <algorithm>
#include <cstring>

#include "snapshot/page_version.h"

namespace rchk::replay {

namespace {

constexpr size_t kMostWords = 12;
constexpr size_t kPagesAtOnce = 64;

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

// All that the string instruction of `state` can have written until then, and more: what is mapped
// without a gap around where it writes next.
AddressRange surroundings(const snapshot::AddressSpace& space, GuestAddress next) {
  // Going down, the place just written to is the one above.
  constexpr uint64_t kLongestStep = 8;
  AddressRange range{next - std::min(next.value, kLongestStep), next + 2 * kLongestStep};
  for (bool grows = true; grows;) {
    grows = false;
    for (const snapshot::Mapping& mapping : space.overlapping(
             {range.begin - std::min<uint64_t>(range.begin.value, 1), range.end + 1})) {
      if (mapping.range.begin >= range.begin && mapping.range.end <= range.end) continue;
      range.begin = std::min(range.begin, mapping.range.begin);
      range.end = std::max(range.end, mapping.range.end);
      grows = true;
    }
  }
  return range;
}

std::optional<StringStores> string_stores(const Registers& registers, Guest& guest) {
  uint8_t code[8] = {};
  const size_t got = guest.puppet->read_memory(registers.pc(), code);
  return StringStores::of({code, got}, registers);
}

// Takes from `want`, the content of `page`, what `stores` will store there into `have`. False if
// they differ in more than that.
bool take_stored_ahead(const StringStores& stores, Guest& guest, GuestAddress page,
                       std::span<const uint8_t> want, std::span<uint8_t> have) {
  const GuestAddress begin = std::max(stores.range().begin, page);
  const GuestAddress end = std::min(stores.range().end, page + kPageSize);
  std::vector<uint8_t> stored(begin < end ? end - begin : 0);
  stored.resize(stores.bytes(begin, stored, [&guest](GuestAddress at, std::span<uint8_t> bytes) {
    return guest.puppet->read_memory(at, bytes);
  }));
  for (size_t i = 0; i < stored.size(); ++i) {
    const size_t offset = begin - page + i;
    if (stored[i] == want[offset]) have[offset] = stored[i];
  }
  return std::equal(want.begin(), want.end(), have.begin());
}

}  // namespace

StateMatcher::StateMatcher(const StateTarget& target, translate::Engine& engine)
    : target_(target), engine_(engine) {
  probe_.expected = target.registers;
  probe_.inside_rep = !target.at_wild_branch && engine.is_rep_string(target.registers.pc());
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
  // What they cannot have written must be equal before them.
  if (!being_written_) {
    being_written_ = surroundings(guest.puppet->space(), {target_.registers.rdi});
  }
  if (!same_pages(guest, *being_written_)) return std::optional<Match>();
  // The iterations write memory: try them on a copy. The copy does not take the guest's place, for
  // what the guest shares with others is not the copy's.
  RCHK_TRY_ASSIGN(Guest trial, guest.fork());
  RCHK_TRY(engine_.attach(*trial.puppet));
  RCHK_TRY(engine_.run_rep_iterations(trial.registers, iterations));
  RCHK_TRY_ASSIGN(const bool equal, matches(trial));
  RCHK_TRY(engine_.attach(*guest.puppet));
  return equal ? std::optional(Match{iterations}) : std::optional<Match>();
}

Result<bool> StateMatcher::matches(Guest& guest) {
  if (!same_guest_state(target_.registers, guest.registers)) return false;
  if (target_.at_wild_branch) return engine_.branches_nowhere(guest.registers);
  // Memory first: vector state costs a system call each time and rarely tells states apart.
  if (!same_pages(guest)) return false;
  if (!target_.extended_state.empty()) {
    RCHK_TRY(guest.puppet->set_registers(guest.registers));
    RCHK_TRY_ASSIGN(const ExtendedState state, guest.puppet->extended_state());
    if (!same_extended_state(target_.extended_state, state)) return false;
  }
  return true;
}

bool StateMatcher::same_pages(Guest& guest, AddressRange left_out) {
  for (size_t i = 0; i < target_.pages.size();) {
    // A run of neighbours is read at once.
    size_t count = 1;
    const bool skipped = left_out.contains(target_.pages[i]);
    while (count < kPagesAtOnce && i + count < target_.pages.size() &&
           target_.pages[i + count] == target_.pages[i] + count * kPageSize &&
           left_out.contains(target_.pages[i + count]) == skipped) {
      ++count;
    }
    if (!skipped && !same_memory(guest, range_of(target_.pages[i], count * kPageSize))) {
      return false;
    }
    i += count;
  }
  return same_checksums(guest, left_out);
}

// Nothing joins the inline comparison for what differs there. So what told the last candidate apart
// is looked at first: a loop that passes the place often stores to the same few pages.
bool StateMatcher::same_checksums(Guest& guest, AddressRange left_out) {
  const std::vector<trace::MemoryChecksum>& sums = target_.checksums;
  for (size_t i = 0; i < sums.size(); ++i) {
    const size_t index = (told_apart_ + i) % sums.size();
    if (left_out.overlaps(sums[index].range) || same_checksum(guest, sums[index])) continue;
    told_apart_ = index;
    return false;
  }
  return true;
}

bool StateMatcher::same_checksum(Guest& guest, const trace::MemoryChecksum& expected) {
  have_.resize(expected.range.size());
  size_t got = guest.puppet->read_memory(expected.range.begin, have_);
  while (got < have_.size()) {  // pages that the stack has yet to grow over
    got -= got % kPageSize;
    const std::span<uint8_t> page(have_.data() + got, std::min(kPageSize, have_.size() - got));
    if (guest.puppet->read_grown_memory(expected.range.begin + got, page) != page.size()) break;
    got += page.size();
  }
  return got == have_.size() && snapshot::checksum_of_page(have_) == expected.xxh3;
}

// Whether whole pages are as in the target; what differs is noted for the inline comparison.
bool StateMatcher::same_memory(Guest& guest, AddressRange range) {
  want_.resize(range.size());
  have_.resize(range.size());
  const size_t wanted = target_.read(range.begin, want_);
  const size_t got = range.size() == kPageSize ? guest.puppet->read_grown_memory(range.begin, have_)
                                               : guest.puppet->read_memory(range.begin, have_);
  const bool readable = wanted == range.size() && got == range.size();
  const bool equal = readable && std::memcmp(want_.data(), have_.data(), range.size()) == 0;
  if (equal) return true;
  const bool inside_rep = probe_.inside_rep && guest.registers.rcx == target_.registers.rcx;
  if ((!readable || inside_rep) && range.size() > kPageSize) {
    for (GuestAddress page = range.begin; page < range.end; page = page + kPageSize) {
      if (!same_memory(guest, range_of(page, kPageSize))) return false;
    }
    return true;
  }
  // A page that is not mapped in the target was unmapped since: it is no part of the state.
  if (!readable) return wanted == 0;
  if (inside_rep && is_ahead(guest, range.begin)) return true;
  // The last word that differs changes latest in the common loops over an array.
  for (size_t offset = range.size(); offset >= sizeof(uint64_t);) {
    offset -= sizeof(uint64_t);
    uint64_t a, b;
    std::memcpy(&a, want_.data() + offset, sizeof(a));
    std::memcpy(&b, have_.data() + offset, sizeof(b));
    if (a == b) continue;
    refine(range.begin + offset, a);
    break;
  }
  return false;
}

bool StateMatcher::is_ahead(Guest& guest, GuestAddress page) {
  const auto stores = string_stores(target_.registers, guest);
  if (!stores) return false;
  std::vector<uint8_t> have = have_;
  return take_stored_ahead(*stores, guest, page, want_, have);
}

Result<void> StateMatcher::store_ahead(const StateTarget& target, Guest& guest,
                                       translate::Engine& engine) {
  const auto stores = string_stores(target.registers, guest);
  if (!stores || guest.registers.rcx != target.registers.rcx) return {};
  std::vector<uint8_t> want(kPageSize), have(kPageSize);
  for (const GuestAddress page : target.pages) {
    const AddressRange range = range_of(page, kPageSize);
    if (!stores->range().overlaps(range)) continue;
    if (target.read(page, want) != kPageSize) continue;
    if (guest.puppet->read_memory(page, have) != kPageSize) continue;
    const std::vector<uint8_t> before = have;
    take_stored_ahead(*stores, guest, page, want, have);
    if (have == before) continue;
    RCHK_TRY(engine.attach(*guest.puppet));
    engine.invalidate(range);
    RCHK_TRY(guest.puppet->write_memory(page, have));
  }
  return {};
}

void StateMatcher::refine(GuestAddress word, uint64_t expected) {
  // Inside of a string instruction, what it writes is not on arrival what it is in the target.
  if (probe_.inside_rep && (!being_written_ || being_written_->contains(word))) return;
  for (const translate::WordProbe& known : probe_.words) {
    if (known.address == word) return;
  }
  if (probe_.words.size() >= kMostWords) probe_.words.pop_back();
  // The newest is compared first: it told the latest candidate apart.
  probe_.words.insert(probe_.words.begin(), {word, expected});
}

}  // namespace rchk::replay
