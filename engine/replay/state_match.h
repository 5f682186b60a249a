#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/registers.h"
#include "base/result.h"
#include "engine/replay/guest.h"
#include "engine/replay/stored_ahead.h"
#include "engine/trace/event.h"
#include "engine/translate/engine.h"

namespace rchk::replay {

// A recorded state that no counter names, to be recognised in a replay: two equal states of a
// deterministic machine have the same future, so the first match is a correct one.
struct StateTarget {
  Registers registers;
  ExtendedState extended_state;
  // Every page that the guest wrote since the point from which it is searched, or more: pages
  // that are equal by nature do no harm.
  std::vector<GuestAddress> pages;
  // Of further pages.
  std::vector<trace::MemoryChecksum> checksums;
  // A branch there leads to no address, and faults before it has done anything.
  bool at_wild_branch = false;
  // Reads the target's memory, of `pages`; returns the bytes that were readable.
  std::function<size_t(GuestAddress, std::span<uint8_t>)> read;
};

// Looks for a StateTarget while a guest runs: says what the translation must compare inline, and
// compares the rest at each candidate. What differed at a false candidate joins the inline
// comparison, so that a loop that passes the place ten million times stops a few times only.
class StateMatcher {
 public:
  StateMatcher(const StateTarget& target, translate::Engine& engine);

  const translate::StateProbe& probe() const { return probe_; }

  struct Match {
    uint64_t rep_iterations = 0;  // completed of the string instruction at pc
  };
  // Whether `guest`, stopped as a candidate, is in the target's state, or comes to it within the
  // string instruction that it stands at. Does not move it. Updates probe() when it is not.
  Result<std::optional<Match>> examine(Guest& guest);

  uint64_t candidates() const { return candidates_; }

  // `guest` stands in the midst of the string instruction of `target`: gives its memory what that
  // one had stored ahead of its registers.
  static Result<void> store_ahead(const StateTarget& target, Guest& guest,
                                  translate::Engine& engine);

 private:
  Result<bool> matches(Guest& guest);
  // Compares the target's pages, all or those outside of `left_out`.
  bool same_pages(Guest& guest, AddressRange left_out = {});
  bool same_memory(Guest& guest, AddressRange range);
  bool same_checksums(Guest& guest, AddressRange left_out);
  bool same_checksum(Guest& guest, const trace::MemoryChecksum& expected);
  // Whether want_ differs from have_, both of `page`, in what is stored ahead only.
  bool is_ahead(Guest& guest, GuestAddress page);
  void refine(GuestAddress word, uint64_t expected);

  const StateTarget& target_;
  translate::Engine& engine_;
  translate::StateProbe probe_;
  uint64_t candidates_ = 0;
  // What a string instruction at the target may have been writing to.
  std::optional<AddressRange> being_written_;
  std::vector<uint8_t> want_, have_;  // buffers
  size_t told_apart_ = 0;             // the checksum that differed last
};

}  // namespace rchk::replay
