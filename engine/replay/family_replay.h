#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "engine/replay/families.h"
#include "engine/replay/replay_totals.h"
#include "engine/replay/replayer.h"

namespace rchk::replay {

// Replays families step by step: one guest and one replayer for each process, forked where the
// program forked. What processes share in memory, their guests share.
class FamilyReplay {
 public:
  struct Options {
    std::optional<int> cpu;
    bool restores = false;  // every page snapshot as well, and all memory compared
    trace::SyscallNamer namer;
    // In front of each event but a process's first one, and behind each; both may be empty. The
    // number is that of the recording.
    std::function<Result<void>(trace::ProcessIndex, const trace::Event&, Guest&)> before_event;
    std::function<Result<void>(trace::ProcessIndex, EventNumber, const trace::Event&)> on_event;
  };

  // Both references outlive it. Must stay where it is once a process has begun.
  static Result<FamilyReplay> create(trace::EventSource& recording, const Families& families,
                                     Options options);

  // Makes the guests of all processes of a family that go on at a beginning, by its index.
  // REQUIRES: none has begun, and snapshots are there.
  Result<void> begin_at(size_t beginning, size_t family);
  // Whether all of them are as it says. REQUIRES: all steps in front of it were replayed, no other.
  Result<void> check_beginning(size_t beginning, size_t family);

  // Makes the guest of a process that begins now, unless it has begun.
  Result<void> begin(trace::ProcessIndex process);
  // Up to the end of a step. Whether the process has come to its own end: then end() it.
  // REQUIRES: it has begun.
  Result<bool> advance(const Step& step);
  // A process's memory goes when the process does.
  void end(trace::ProcessIndex process);
  // Of a process that has begun and not ended; or null.
  Guest* guest_of(trace::ProcessIndex process);
  // What was done since it was asked last, by processes that have ended.
  ReplayTotals take_totals() { return std::exchange(totals_, {}); }

 private:
  struct Member {
    std::unique_ptr<Replayer> replayer;
    std::optional<Guest> guest;  // while it lives
    bool ended = false;
  };

  FamilyReplay(trace::EventSource& recording, const Families& families, Options options);
  // `relative`: of the process that it is the fork of, or of them all.
  Result<void> make_replayer(trace::ProcessIndex process, const Replayer& relative, bool forked);
  using OnProcess = std::function<Result<void>(trace::ProcessIndex, const trace::Event&)>;
  Result<void> for_each_at(size_t beginning, size_t family, const OnProcess& call);
  Result<std::optional<std::vector<AddressRange>>> stored_by_waiting(trace::ProcessIndex process,
                                                                     const trace::Event& begun,
                                                                     EventNumber next);

  trace::EventSource* recording_;
  const Families* families_;
  Options options_;
  std::unique_ptr<Strand> nothing_;  // the source of `root_`
  std::unique_ptr<Replayer> root_;   // holds what all replayers have in common
  std::vector<Member> members_;      // by ProcessIndex
  // The pages of the beginning that was checked last, by address space.
  std::map<uint32_t, std::vector<snapshot::PageChange>> checked_pages_;
  ReplayTotals totals_;
};

}  // namespace rchk::replay
