#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/trace/process_table.h"
#include "engine/trace/process_view.h"
#include "gdbserver/target/timeline_target.h"
#include "gdbserver/target/unreachable_target.h"

namespace rchk::target {

// The processes of a recording that a debugger looks at, each with a timeline of its own: its
// history moves without the others'. A child's is opened where it was made, when it is first looked
// at or when its maker moves on; one that the debugger detaches at once costs nothing.
class TimelineFamily final : public Family {
 public:
  // `timeline` is of the process `first`, whose target this makes; if it is live, the recording
  // grows, and is of all processes that this one makes. All outlive the family.
  TimelineFamily(trace::EventSource& recording, timeline::Timeline& timeline,
                 trace::ProcessIndex first, TimelineTarget::Hooks hooks);

  Target& first() { return *members_.front()->target; }

  void report_forks(bool forks, bool vforks) override;
  std::vector<Tid> processes() override;
  Target* process(Tid pid) override;
  std::vector<ThreadInfo> threads(Tid pid) override;
  StopPointHolder* stop_points(Tid pid) override;
  Result<void> detach(Tid pid) override;
  Result<Target*> attach_again(Tid pid) override;
  Result<Stop> resume(const Request& request, RunControl& control) override;

 private:
  // The breakpoints of a process that was not opened yet.
  class Points final : public StopPointHolder {
   public:
    Result<void> insert(const StopPoint& point) override;
    Result<void> remove(StopPointKind kind, AddressRange range) override;
    std::vector<StopPoint> all;
  };
  // Breakpoints of a process and of another one that is in the same memory, for which a debugger
  // puts them in only once.
  class SharedPoints final : public StopPointHolder {
   public:
    Result<void> insert(const StopPoint& point) override;
    Result<void> remove(StopPointKind kind, AddressRange range) override;
    std::vector<StopPointHolder*> holders;
  };
  struct Member {
    trace::ProcessIndex index;
    Tid pid;
    bool attached = true;
    Member* maker = nullptr;
    // What it has once it is opened; the first member's timeline and events are not its own.
    std::unique_ptr<trace::ProcessView> view;
    std::unique_ptr<timeline::Timeline> timeline;
    std::unique_ptr<TimelineTarget> target;
    std::optional<Error> failure;                    // why it cannot be opened
    std::unique_ptr<UnreachableTarget> unreachable;  // that says so
    Points points;                                   // until it is opened
    TimelineTarget::Inherited inherited;
    uint64_t events_known = 0;  // of the recording, when its kin was told last
    // A vfork that was reported, until its return is.
    std::optional<timeline::Fork> vfork;
    std::optional<Position> told_end;  // where it stands at its end, and that was reported
    // Of a child of vfork: the process in whose memory it is, as far as the debugger was told.
    Member* lender = nullptr;
    SharedPoints shared_points;
  };

  Member* find(Tid pid);
  static StopPointHolder* own_points(Member& member);
  Result<void> learn();
  Result<void> open(Member& member);
  void join(Member& member);
  void open_children_of(const Member& maker);
  Result<void> tell_kin(Member& member);
  bool wants(const timeline::Fork& fork) const;
  Result<bool> is_within_vfork(Member& member);
  Result<Stop> run(Member& member, const ResumeRequest& request, RunControl& control,
                   TimelineTarget::Bounds bounds);
  Result<Stop> run_on_live(Member& member, const ResumeRequest& request, RunControl& control,
                           Stop stop);
  Result<bool> record_more(const std::function<bool()>& interrupted);
  Result<Stop> run_forward(const std::vector<Member*>& movers, const ResumeRequest& request,
                           RunControl& control);
  Result<Stop> run_backward(const std::vector<Member*>& movers, const ResumeRequest& request,
                            RunControl& control);
  Result<void> attach_child(Member& maker, const Forked& forked);
  static Stop interrupted(Member& member);

  trace::EventSource& recording_;
  std::function<std::string()> take_output_;  // of a live program
  trace::ProcessTable table_;                 // of as much of the recording as was looked at
  bool reports_forks_ = false, reports_vforks_ = false;
  std::vector<std::unique_ptr<Member>> members_;  // those too that were detached
  std::vector<Member*> order_;                    // those that are attached
};

}  // namespace rchk::target
