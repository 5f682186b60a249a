#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include <sys/types.h>

#include "engine/record/recorder.h"
#include "engine/timeline/timeline.h"
#include "snapshot/dirty_tracker.h"

namespace rchk::timeline {

// A program that is being recorded, as the end of a timeline. Takes fork snapshots of it while
// it runs, at an interval that adapts to what they cost, and where the user turns back.
class LiveProgram final : public LiveEnd {
 public:
  // Both outlive it. `log` has the events of the first process alone.
  LiveProgram(record::Recorder& recorder, trace::EventSource& log);

  // Must be called before anything else, with the timeline that this is the end of.
  Result<void> join(Timeline& timeline);

  Result<TimelineStop> run(const RunCommand& command, const StopPoints& points) override;
  bool can_stop_at(const StopPoints& points) override;
  Result<Position> position() override;
  std::vector<Tid> tasks() override { return recorder_.tasks(); }
  Result<Registers> registers(Tid task) override { return recorder_.registers(task); }
  Result<ExtendedState> extended_state(Tid task) override { return recorder_.extended_state(task); }
  size_t read_memory(GuestAddress address, std::span<uint8_t> bytes) override {
    return recorder_.read_memory(address, bytes);
  }
  Result<snapshot::AddressSpace> space() override { return recorder_.address_space(); }
  std::optional<Bytes> signal_info() override;
  std::optional<int> signal_to_come() override;
  Result<replay::Guest> copy() override;
  bool running() const override { return running_; }
  Result<bool> run_beyond(const std::function<bool()>& interrupted) override;

 private:
  using Clock = std::chrono::steady_clock;

  Result<void> place(const StopPoints& points);
  Result<void> snapshot();
  Result<void> note_snapshot(Clock::time_point before, const Position& position,
                             uint64_t dirty_pages);
  Result<replay::Guest> take_anchor(replay::Anchor& anchor, Position& position);
  Result<void> add_written_behind(EventNumber event, std::vector<GuestAddress>& pages);
  Result<replay::Guest> fork_guest(const Position& position, Registers& registers,
                                   ExtendedState& state);
  Result<std::optional<TimelineStop>> meaning_of(const record::RecorderStop& stop,
                                                 const RunCommand& command,
                                                 const StopPoints& points);
  int64_t age_ns() const;

  record::Recorder& recorder_;
  trace::EventSource& log_;
  const pid_t first_pid_;
  Timeline* timeline_ = nullptr;
  std::unique_ptr<snapshot::DirtyTracker> tracker_;
  std::optional<Position> position_;  // of the snapshot at the present stop
  std::optional<TimelineStop> end_;   // it is about to end: this is what every run answers
  bool running_ = true;
  Clock::time_point started_ = Clock::now();
  Clock::time_point last_snapshot_ = Clock::now();
  uint64_t private_pages_ = 0;  // at the last snapshot
  std::chrono::nanoseconds interval_{};
  std::vector<GuestAddress> breakpoints_;  // in the recorder now
  std::vector<record::HardwareWatchpoint> watchpoints_;
};

}  // namespace rchk::timeline
