#include "gdbserver/target/timeline_family.h"

#include <algorithm>
#include <csignal>

#include "engine/trace/process_map.h"

namespace rchk::target {

namespace {

constexpr EventNumber kNone{UINT64_MAX};

// The last event of `source` that comes before `global` in the recording, or its first one.
EventNumber last_before(trace::EventSource& source, EventNumber global) {
  return {std::max<uint64_t>(source.events_before(global), 1) - 1};
}

// Where the event that comes next for a process stands in the recording.
Result<EventNumber> next_event(timeline::Timeline& timeline) {
  RCHK_TRY_ASSIGN(const Position here, timeline.position());
  trace::EventSource& source = timeline.source();
  const EventNumber next = here.event.next();
  return next.value < source.event_count() ? source.global_number(next) : kNone;
}

Result<EventNumber> last_event(timeline::Timeline& timeline) {
  RCHK_TRY_ASSIGN(const Position here, timeline.position());
  return timeline.source().global_number(here.event);
}

// Remembers that a stop was asked for: several layers look.
class StickyControl final : public RunControl {
 public:
  explicit StickyControl(RunControl& control) : control_(control) {}
  bool interrupted() override { return asked_ = asked_ || control_.interrupted(); }
  void console(std::string_view text) override { control_.console(text); }

 private:
  RunControl& control_;
  bool asked_ = false;
};

bool is_end(const Stop& stop) {
  return std::holds_alternative<HistoryEnd>(stop.event) ||
         std::holds_alternative<Exiting>(stop.event);
}

}  // namespace

Result<void> TimelineFamily::Points::insert(const StopPoint& point) {
  RCHK_TRY(remove(point.kind, point.range));
  all.push_back(point);
  return {};
}

Result<void> TimelineFamily::Points::remove(StopPointKind kind, AddressRange range) {
  std::erase_if(all,
                [&](const StopPoint& point) { return point.kind == kind && point.range == range; });
  return {};
}

TimelineFamily::TimelineFamily(trace::EventSource& recording, timeline::Timeline& timeline,
                               trace::ProcessIndex first, TimelineTarget::Hooks hooks)
    : recording_(recording), take_output_(hooks.take_output) {
  auto member = std::make_unique<Member>();
  member->index = first;
  member->pid = {timeline.process()};
  member->target = std::make_unique<TimelineTarget>(timeline, std::move(hooks));
  order_.push_back(member.get());
  members_.push_back(std::move(member));
  join(*members_.front());
}

void TimelineFamily::join(Member& member) {
  TimelineTarget::FamilyHooks hooks;
  hooks.family = this;
  hooks.before_move = [this, &member]() -> Result<void> {
    open_children_of(member);
    return tell_kin(member);
  };
  hooks.forks = [this](const timeline::Fork& fork) { return wants(fork); };
  hooks.vforks_done = [&member](const timeline::Fork& fork) {
    return member.vfork && member.vfork->pid == fork.pid;
  };
  member.target->join(std::move(hooks));
}

void TimelineFamily::report_forks(bool forks, bool vforks) {
  reports_forks_ = forks;
  reports_vforks_ = vforks;
}

bool TimelineFamily::wants(const timeline::Fork& fork) const {
  const bool known = std::any_of(order_.begin(), order_.end(), [&](const Member* member) {
    return member->pid.value == fork.pid;
  });
  return !known && (fork.vfork ? reports_vforks_ : reports_forks_);
}

TimelineFamily::Member* TimelineFamily::find(Tid pid) {
  const auto found = std::find_if(order_.begin(), order_.end(),
                                  [&](const Member* member) { return member->pid == pid; });
  return found == order_.end() ? nullptr : *found;
}

std::vector<Tid> TimelineFamily::processes() {
  std::vector<Tid> pids;
  for (const Member* member : order_) pids.push_back(member->pid);
  return pids;
}

Target* TimelineFamily::process(Tid pid) {
  Member* const member = find(pid);
  if (member == nullptr) return nullptr;
  if (open(*member)) return member->target.get();
  return member->unreachable.get();
}

// A process begins with one thread.
std::vector<ThreadInfo> TimelineFamily::threads(Tid pid) {
  Member* const member = find(pid);
  if (member == nullptr) return {};
  if (member->target != nullptr) return member->target->threads();
  return {{pid, ""}};
}

StopPointHolder* TimelineFamily::stop_points(Tid pid) {
  Member* const member = find(pid);
  if (member == nullptr) return nullptr;
  const Member* const memory = member->lender != nullptr ? member->lender : member;
  std::vector<StopPointHolder*> holders;
  for (Member* const other : order_) {
    if (other == memory || other->lender == memory) holders.push_back(own_points(*other));
  }
  if (holders.size() < 2) return own_points(*member);
  member->shared_points.holders = std::move(holders);
  return &member->shared_points;
}

StopPointHolder* TimelineFamily::own_points(Member& member) {
  if (member.target != nullptr) return member.target.get();
  return &member.points;
}

Result<void> TimelineFamily::SharedPoints::insert(const StopPoint& point) {
  for (StopPointHolder* const holder : holders) RCHK_TRY(holder->insert(point));
  return {};
}

Result<void> TimelineFamily::SharedPoints::remove(StopPointKind kind, AddressRange range) {
  for (StopPointHolder* const holder : holders) RCHK_TRY(holder->remove(kind, range));
  return {};
}

// Takes in what the recording has by now.
Result<void> TimelineFamily::learn() {
  if (table_.event_count() == 0 && recording_.process_map() != nullptr) {
    table_ = recording_.process_map()->table();
  }
  while (table_.event_count() < recording_.event_count()) {
    RCHK_TRY_ASSIGN(const auto event, recording_.event({table_.event_count()}));
    RCHK_TRY(table_.add(*event));
  }
  return {};
}

// Tells a timeline which events concern other processes.
Result<void> TimelineFamily::tell_kin(Member& member) {
  if (!reports_forks_ && !reports_vforks_) return {};
  if (member.events_known == recording_.event_count()) return {};
  RCHK_TRY(learn());
  member.events_known = table_.event_count();
  auto kin = std::make_shared<timeline::Kin>();
  for (const trace::Process& other : table_.processes()) {
    const bool vfork = other.origin == trace::ProcessOrigin::kVfork;
    const timeline::Fork fork{other.pid, vfork, other.made_by};
    const auto left = other.programs.empty()
                          ? (other.end ? std::optional(other.end->event) : std::nullopt)
                          : std::optional(other.programs.front().event);
    if (other.parent == member.index) {
      const auto made = vfork ? std::optional(other.begin) : other.made_behind;
      if (made) kin->forks[*made] = fork;
      if (vfork && other.maker_returned) kin->vforks_done[*other.maker_returned] = fork;
    }
    if (vfork && other.memory_from == member.index) {
      const Tid maker = other.parent == member.index ? other.made_by : member.pid;
      kin->guests.push_back({{other.pid}, maker, other.begin, left.value_or(kNone)});
    }
  }
  const trace::Process& self = table_.process(member.index);
  if (self.origin == trace::ProcessOrigin::kVfork) {
    kin->borrows = self.begin;
    if (!self.programs.empty()) kin->returns = self.programs.front().event;
  }
  if (self.end) {
    const auto event = recording_.event(self.end->event);
    // Otherwise its memory ends with it; or it cannot be read, and the rest can still be looked at.
    const bool others_go_on = event && std::holds_alternative<trace::TaskEndEvent>((*event)->body);
    if (others_go_on) kin->end = self.end->event;
  }
  member.target->timeline().set_kin(std::move(kin));
  return {};
}

// REQUIRES: the process's maker stands where it made it, unless it is open.
Result<void> TimelineFamily::open(Member& member) {
  if (member.target != nullptr) return {};
  if (member.failure) return Failure(*member.failure);
  const auto opened = [&]() -> Result<void> {
    RCHK_TRY(learn());
    const bool vfork = table_.process(member.index).origin == trace::ProcessOrigin::kVfork;
    const auto start =
        vfork ? trace::ProcessView::Start::kBorrowed : trace::ProcessView::Start::kFork;
    RCHK_TRY_ASSIGN(member.view,
                    trace::ProcessView::create(recording_, table_, member.index, start));
    RCHK_TRY_ASSIGN(const EventNumber beginning, member.view->beginning());
    RCHK_TRY_ASSIGN(
        member.timeline,
        timeline::Timeline::open_child(*member.view, member.maker->target->timeline(), beginning));
    return {};
  }();
  if (!opened) {
    member.failure = opened.error();
    member.failure->context =
        fmt::format("process {} cannot be shown: {}", member.pid.value, member.failure->context);
    member.unreachable = std::make_unique<UnreachableTarget>(member.pid, *member.failure);
    return Failure(*member.failure);
  }
  member.target = std::make_unique<TimelineTarget>(*member.timeline,
                                                   TimelineTarget::Hooks{take_output_, {}, {}});
  member.inherited.points = std::move(member.points.all);
  member.target->inherit(std::move(member.inherited));
  join(member);
  RCHK_TRY(tell_kin(member));
  // Now it is known which of the tasks are its own.
  member.target->stop_here(SignalStop{SIGTRAP});
  return {};
}

void TimelineFamily::open_children_of(const Member& maker) {
  for (Member* const member : order_) {
    // One that fails says so when it is looked at.
    if (member->maker == &maker) (void)open(*member);
  }
}

Result<void> TimelineFamily::detach(Tid pid) {
  Member* const member = find(pid);
  if (member == nullptr) {
    return fail(ErrorKind::kGone, fmt::format("the session has no process {}", pid.value));
  }
  member->attached = false;
  std::erase(order_, member);
  // What was opened may come again, and what it made is opened where it stands.
  if (member->target != nullptr) return {};
  std::erase_if(members_, [&](const auto& one) { return one.get() == member; });
  return {};
}

Result<Target*> TimelineFamily::attach_again(Tid pid) {
  for (const auto& member : members_) {
    if (member->pid != pid || member->attached || member->target == nullptr) continue;
    RCHK_TRY(member->target->restart_program());
    member->attached = true;
    member->vfork.reset();
    member->told_end.reset();
    order_.push_back(member.get());
    return member->target.get();
  }
  return fail(ErrorKind::kGone, fmt::format("the session had no process {}", pid.value));
}

// A process that was reported becomes one of the session.
Result<void> TimelineFamily::attach_child(Member& maker, const Forked& forked) {
  RCHK_TRY_ASSIGN(const Position here, maker.target->timeline().position());
  const EventNumber global = maker.target->timeline().source().global_number(here.event);
  const std::vector<trace::Process>& all = table_.processes();
  // Of several of that pid the one that was made last up to here.
  std::optional<trace::ProcessIndex> found;
  for (size_t i = 0; i < all.size(); ++i) {
    const bool fits = all[i].pid == forked.child.value && all[i].parent == maker.index;
    const EventNumber made =
        forked.vfork ? all[i].begin : all[i].made_behind.value_or(all[i].begin);
    if (fits && made <= global) found = trace::ProcessIndex{i};
  }
  if (!found) {
    return fail(ErrorKind::kBadTrace,
                fmt::format("process {} was not made here", forked.child.value));
  }
  const trace::ProcessIndex index = *found;
  const Tid maker_task = table_.process(index).made_by;
  if (forked.vfork) maker.vfork = timeline::Fork{forked.child.value, true, maker_task};
  Member* const lender = forked.vfork ? &maker : nullptr;
  for (const auto& member : members_) {
    if (member->index != index) continue;
    RCHK_TRY(attach_again(member->pid));
    member->target->inherit(maker.target->inheritance());
    member->lender = lender;
    return {};
  }
  auto child = std::make_unique<Member>();
  child->index = index;
  child->pid = forked.child;
  child->maker = &maker;
  child->lender = lender;
  child->inherited = maker.target->inheritance();
  child->points.all = child->inherited.points;
  order_.push_back(child.get());
  members_.push_back(std::move(child));
  return {};
}

// Whether the present is between a vfork that was reported and its return.
Result<bool> TimelineFamily::is_within_vfork(Member& member) {
  trace::EventSource& source = member.target->timeline().source();
  RCHK_TRY_ASSIGN(const EventNumber here, last_event(member.target->timeline()));
  for (const trace::Process& other : table_.processes()) {
    if (other.pid != member.vfork->pid || other.parent != member.index) continue;
    const bool in_view = source.local_number(other.begin).has_value();
    if (in_view && other.begin <= here && (!other.maker_returned || here < *other.maker_returned)) {
      return true;
    }
  }
  return false;
}

Result<Stop> TimelineFamily::run(Member& member, const ResumeRequest& request, RunControl& control,
                                 TimelineTarget::Bounds bounds) {
  // Without hearing of a vfork's return, a debugger would go on without its breakpoints.
  if (member.vfork) {
    RCHK_TRY_ASSIGN(const bool within, is_within_vfork(member));
    if (!within || request.direction == Direction::kBackward) {
      member.vfork.reset();
      Stop stop = member.target->stop_here(VforkDone{});
      stop.process = member.pid;
      return stop;
    }
  }
  const timeline::Timeline& first = members_.front()->target->timeline();
  if (member.maker != nullptr) member.target->timeline().set_grows(first.can_record_more());
  RCHK_TRY_ASSIGN(Stop stop, member.target->resume_within(request, control, bounds));
  const bool recorded = std::holds_alternative<HistoryEnd>(stop.event) && member.maker != nullptr;
  if (recorded && !bounds.until) {
    RCHK_TRY_ASSIGN(stop, run_on_live(member, request, control, std::move(stop)));
  }
  // A live program has gone on.
  RCHK_TRY(tell_kin(member));
  stop.process = member.pid;
  if (const auto* forked = std::get_if<Forked>(&stop.event)) {
    RCHK_TRY(attach_child(member, *forked));
  }
  if (std::holds_alternative<VforkDone>(stop.event)) member.vfork.reset();
  // Another program, in memory of its own.
  if (std::holds_alternative<Exec>(stop.event)) member.lender = nullptr;
  return stop;
}

// A process that a live program has made is debugged in its history, which is recorded as far as it
// is asked for.
Result<Stop> TimelineFamily::run_on_live(Member& member, const ResumeRequest& request,
                                         RunControl& control, Stop stop) {
  timeline::Timeline& live = members_.front()->target->timeline();
  const auto interrupted = [&control] { return control.interrupted(); };
  while (std::holds_alternative<HistoryEnd>(stop.event) && live.can_record_more()) {
    RCHK_TRY_ASSIGN(const bool goes_on, record_more(interrupted));
    RCHK_TRY(tell_kin(member));
    member.target->timeline().set_grows(live.can_record_more());
    RCHK_TRY_ASSIGN(stop, member.target->resume_within(request, control, {std::nullopt, true}));
    if (!std::holds_alternative<HistoryEnd>(stop.event)) return stop;
    if (interrupted()) return member.target->stop_here(Interrupted{});
    if (goes_on) continue;
    if (!live.can_record_more()) continue;
    return member.target->stop_here(Unsupported{fmt::format(
        "rchk: process {} goes on, but process {} is about to end, and does not as long as it is "
        "one of the session's: take it out (detach inferiors NUMBER) to see more of this one",
        member.pid.value, members_.front()->pid.value)});
  }
  return stop;
}

// Lets a live program run on. Its first process comes to its end only where nobody looks at it.
Result<bool> TimelineFamily::record_more(const std::function<bool()>& interrupted) {
  const Member& first = *members_.front();
  using AtEnd = timeline::Timeline::AtEnd;
  return first.target->timeline().record_more(interrupted,
                                              first.attached ? AtEnd::kStop : AtEnd::kGoBeyond);
}

Result<Stop> TimelineFamily::resume(const Request& request, RunControl& control) {
  std::vector<Member*> movers;
  const bool steps = request.run.kind != ResumeKind::kContinue;
  for (Member* const member : order_) {
    const bool named =
        std::find(request.pids.begin(), request.pids.end(), member->pid) != request.pids.end();
    if (steps ? member->pid == request.stepped : named) movers.push_back(member);
  }
  if (movers.empty()) return fail(ErrorKind::kGone, "there is no such process to run");
  for (Member* const member : movers) RCHK_TRY(open(*member));
  StickyControl sticky(control);
  if (movers.size() == 1) return run(*movers.front(), request.run, sticky, {});
  return request.run.direction == Direction::kForward ? run_forward(movers, request.run, sticky)
                                                      : run_backward(movers, request.run, sticky);
}

// The instructions of a task between two of its events run right before the second one
// (docs/notes/tasks.md). So the process moves whose next event comes first, up to where another
// one's does.
Result<Stop> TimelineFamily::run_forward(const std::vector<Member*>& movers,
                                         const ResumeRequest& request, RunControl& control) {
  std::vector<const Member*> moved;
  for (;;) {
    Member* chosen = nullptr;
    EventNumber first = kNone, second = kNone;
    for (Member* const member : movers) {
      timeline::Timeline& timeline = member->target->timeline();
      RCHK_TRY_ASSIGN(const Position here, timeline.position());
      if (member->told_end == here) continue;
      RCHK_TRY_ASSIGN(const EventNumber next, next_event(timeline));
      if (chosen == nullptr || next < first) {
        second = first;
        first = next;
        chosen = member;
      } else {
        second = std::min(second, next);
      }
    }
    // All are at their ends.
    if (chosen == nullptr) return run(*movers.front(), request, control, {});
    if (first == kNone) {
      // Whose turn it is, a live program has still to show.
      const uint64_t known = recording_.event_count();
      const auto asked = [&control] { return control.interrupted(); };
      RCHK_TRY(record_more(asked));
      if (recording_.event_count() != known) continue;
    }
    timeline::Timeline& timeline = chosen->target->timeline();
    TimelineTarget::Bounds bounds;
    if (second != kNone) {
      RCHK_TRY_ASSIGN(const Position from, timeline.position());
      // At least over one event: what a child of vfork does in its parent's memory is in both
      // views.
      bounds.until = std::max(last_before(timeline.source(), second), from.event.next());
    }
    bounds.goes_on = std::find(moved.begin(), moved.end(), chosen) != moved.end();
    RCHK_TRY_ASSIGN(const Stop stop, run(*chosen, request, control, bounds));
    moved.push_back(chosen);
    RCHK_TRY_ASSIGN(const Position here, timeline.position());
    const bool is_bound = std::holds_alternative<HistoryEnd>(stop.event) && bounds.until &&
                          here.event >= *bounds.until;
    if (!is_bound) {
      if (is_end(stop)) chosen->told_end = here;
      return stop;
    }
    if (control.interrupted()) return interrupted(*chosen);
  }
}

// Back: the one that did something last.
Result<Stop> TimelineFamily::run_backward(const std::vector<Member*>& movers,
                                          const ResumeRequest& request, RunControl& control) {
  Stop last;
  for (;;) {
    Member* chosen = nullptr;
    EventNumber first{}, second{};
    for (Member* const member : movers) {
      timeline::Timeline& timeline = member->target->timeline();
      RCHK_TRY_ASSIGN(const Position here, timeline.position());
      if (here <= timeline.beginning()) continue;
      RCHK_TRY_ASSIGN(const EventNumber behind, last_event(timeline));
      if (chosen == nullptr || behind > first) {
        second = first;
        first = behind;
        chosen = member;
      } else {
        second = std::max(second, behind);
      }
    }
    if (chosen == nullptr) {
      if (last.process.value != 0) return last;
      return run(*movers.front(), request, control, {});
    }
    timeline::Timeline& timeline = chosen->target->timeline();
    TimelineTarget::Bounds bounds;
    if (second.value != 0) bounds.until = last_before(timeline.source(), second);
    RCHK_TRY_ASSIGN(last, run(*chosen, request, control, bounds));
    if (!std::holds_alternative<HistoryBegin>(last.event)) return last;
    if (control.interrupted()) return interrupted(*chosen);
  }
}

Stop TimelineFamily::interrupted(Member& member) {
  Stop stop = member.target->stop_here(Interrupted{});
  stop.process = member.pid;
  return stop;
}

}  // namespace rchk::target
