#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/registers.h"
#include "engine/replay/replayer.h"

namespace rchk::timeline {

// A short stretch of history with the state at each of its instructions at hand, so that one
// step back costs no restore: the registers of each, and the bytes that each overwrote.
//
//   steps:    [0] -----> [1] -----> [2] -----> ... -----> [last]
//                  ^          ^                              ^ the guest stands here
//                  what it overwrote, in overwritten_
//
// The memory at step i is the guest's, with what the steps from last-1 back to i overwrote put
// back.
//
// Most instructions are passed without a stop (translate::Engine::run_logged()); for those that do
// more than change registers and a word of memory the guest stops on both sides.
class Window {
 public:
  // Steps `guest` on to `end` and keeps what it passes. What lies before an instruction whose
  // effects cannot be undone (a mapping changed, a store of unknown extent) is left out, so the
  // window may begin later than the guest does.
  static Result<Window> record(replay::Replayer& replayer, replay::Guest guest,
                               const Position& end);

  size_t last() const { return steps_.size() - 1; }
  const Position& position(size_t step) const { return steps_[step].position; }
  const Registers& registers(size_t step) const { return steps_[step].registers; }
  const ExtendedState& extended_state(size_t step) const { return *steps_[step].extended_state; }
  Tid task(size_t step) const { return steps_[step].task; }
  // The tasks that waited then.
  const std::map<Tid, replay::WaitingTask>& others(size_t step) const {
    return *steps_[step].others;
  }
  size_t read_memory(size_t step, GuestAddress address, std::span<uint8_t> bytes);
  // The step at `position`, if it is in the window.
  std::optional<size_t> find(const Position& position) const;
  // The guest at the last step.
  replay::Guest& guest() { return guest_; }

 private:
  struct Step {
    Position position;
    Registers registers;
    std::shared_ptr<const ExtendedState> extended_state;
    Tid task;
    std::shared_ptr<const std::map<Tid, replay::WaitingTask>> others;
  };
  // What a step overwrote.
  struct Overwritten {
    size_t step = 0;  // the one in front of it
    AddressRange range;
    size_t bytes_at = 0;  // in old_bytes_
  };

  explicit Window(replay::Guest guest) : guest_(std::move(guest)) {}
  Result<void> note_state();
  void keep(AddressRange range, std::span<const uint8_t> bytes);
  void save(AddressRange range);
  bool save_for(const trace::Event& event);
  void forget_from(size_t overwritten);
  void forget_all();
  Result<void> run(replay::Replayer& replayer, const Position& end);
  Result<bool> step(replay::Replayer& replayer, const Position& end);

  replay::Guest guest_;
  std::vector<Step> steps_;
  std::vector<Overwritten> overwritten_;  // in the order of their steps
  Bytes old_bytes_;
};

}  // namespace rchk::timeline
