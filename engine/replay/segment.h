#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>

#include "engine/replay/replayer.h"

namespace rchk::replay {

// What lies ahead of a guest: how the segment that it is in ends.
struct Replayer::Segment {
  enum class End : uint8_t {
    kTrap,     // the guest itself runs into the next event, or stands at it
    kState,    // at a state: of `anchor`, or of `event` where there is none
    kNothing,  // the log says nothing more
  };
  End end = End::kNothing;
  std::shared_ptr<const trace::Event> event;  // the next one
  Anchor* anchor = nullptr;
  bool is_empty = false;  // the event counts as being where the one before it is
  // For kState, what is known: one of the two.
  std::optional<StateDistance> distance;
  std::shared_ptr<const StateTarget> event_target = std::make_shared<const StateTarget>();

  const StateTarget& target() const { return anchor != nullptr ? anchor->target : *event_target; }
};

// True if `guest` stands at a system call instruction: one that `registers` say it is at.
inline bool stands_at_syscall(const Registers& registers, const Guest& guest) {
  uint8_t code[2] = {};
  return guest.puppet->read_memory(registers.pc(), code) == sizeof(code) && code[0] == 0x0f &&
         code[1] == 0x05;
}

// Whether `guest`, which has come to the instruction of a state, has yet to do a part of it.
inline bool begins_instruction(const Guest& guest, const StateDistance& distance) {
  return distance.rep_iterations > 0 && guest.position.rep_iterations == 0;
}

inline std::optional<uint32_t> breakpoint_at(const translate::Probes& probes, GuestAddress pc) {
  const auto& all = probes.breakpoints;
  const auto found = std::find(all.begin(), all.end(), pc);
  if (found == all.end()) return std::nullopt;
  return static_cast<uint32_t>(found - all.begin());
}

// For messages: what the replay itself does.
std::string describe_stop(const translate::Stop& stop);

}  // namespace rchk::replay
