// `monitor` commands of a timeline: where the present is, and moving it.

#include <charconv>

#include "gdbserver/target/timeline_target.h"
#include "gdbserver/target/words.h"

namespace rchk::target {

namespace {

constexpr std::string_view kHelp =
    "when                       where the present is in the history\n"
    "goto EVENT                 go behind event number EVENT; also: start, end, a bookmark, and\n"
    "                           50%, where half of the recorded time had passed\n"
    "bookmark NAME              remember the present, in the recording; without NAME: list them\n"
    "last ADDRESS LENGTH        go back to the instruction that last changed that memory; again:\n"
    "                           to the one before\n"
    "touched ADDRESS            when that page changed last, as far as it is known without "
    "running\n"
    "index on|off               whether searches back pass over what they know to be without a "
    "hit\n";

// Decimal, or hexadecimal behind 0x.
std::optional<uint64_t> number_in(std::string_view text) {
  const bool hexadecimal = text.starts_with("0x");
  if (hexadecimal) text.remove_prefix(2);
  uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, hexadecimal ? 16 : 10);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// The last event that came before `percent` of the recorded time had passed.
Result<EventNumber> event_at_percent(trace::EventSource& source, uint64_t percent) {
  RCHK_TRY_ASSIGN(const auto first, source.event({0}));
  RCHK_TRY_ASSIGN(const auto last, source.event({source.event_count() - 1}));
  const uint64_t wanted = first->time_ns + (last->time_ns - first->time_ns) / 100 * percent;
  uint64_t low = 0, high = source.event_count() - 1;
  while (low < high) {
    const uint64_t middle = low + (high - low + 1) / 2;
    RCHK_TRY_ASSIGN(const auto event, source.event({middle}));
    if (event->time_ns <= wanted) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return EventNumber{low};
}

}  // namespace

Result<std::string> TimelineTarget::describe_present() {
  RCHK_TRY_ASSIGN(const Position position, timeline_.position());
  return fmt::format("position {} of {} events{}\n", position, timeline_.source().event_count(),
                     timeline_.is_live() ? " (live)" : "");
}

Result<Monitor::Answer> TimelineTarget::moved() {
  end_diversion();
  stop_ = make_stop(StepDone{});
  RCHK_TRY_ASSIGN(std::string text, describe_present());
  return Answer{std::move(text), true};
}

// Those of this process that the recording holds.
void TimelineTarget::read_bookmarks() {
  const trace::EventSource& source = timeline_.source();
  for (const trace::Bookmark& mark : source.bookmarks()) {
    const auto event = source.local_number(mark.event);
    if (!event || mark.process != timeline_.process()) continue;
    bookmarks_[mark.name] = {*event, 0, mark.instructions, mark.rep_iterations};
  }
}

std::string TimelineTarget::list_of_bookmarks() const {
  if (bookmarks_.empty()) return "no bookmarks; `monitor bookmark NAME` sets one\n";
  std::string text;
  for (const auto& [name, position] : bookmarks_) {
    text += fmt::format("{} at {}\n", name, position);
  }
  return text;
}

Result<Monitor::Answer> TimelineTarget::set_bookmark(const std::string& name) {
  RCHK_TRY_ASSIGN(const Position here, timeline_.position());
  bookmarks_[name] = here;
  trace::EventSource& source = timeline_.source();
  // The number of an anchor means nothing to another session.
  Result<void> kept = fail(ErrorKind::kUnsupported, "its place is one of this session");
  if (here.anchor == 0) {
    kept = source.add_bookmark({name, timeline_.process(), source.global_number(here.event),
                                here.instructions, here.rep_iterations});
  }
  const std::string where =
      kept ? "and kept in the recording" : "for this session only: " + kept.error().message();
  return Answer{fmt::format("bookmark {0} set, {1}; `monitor goto {0}` comes back\n", name, where),
                false};
}

Result<Monitor::Answer> TimelineTarget::go_to(std::string_view where) {
  RCHK_TRY(before_move());
  if (where == "start") {
    RCHK_TRY(timeline_.seek({}));
  } else if (where == "end") {
    RCHK_TRY(timeline_.seek_to_end());
  } else if (const auto number = number_in(where)) {
    RCHK_TRY(timeline_.seek({{*number}, 0, 0, 0}));
  } else if (const auto mark = bookmarks_.find(where); mark != bookmarks_.end()) {
    RCHK_TRY(timeline_.seek(mark->second));
  } else {
    const bool percent = where.ends_with('%');
    const auto part = number_in(where.substr(0, where.size() - (percent ? 1 : 0)));
    if (!percent || !part || *part > 100) {
      return fail(ErrorKind::kMisuse,
                  "usage: monitor goto EVENT | PERCENT% | start | end | BOOKMARK");
    }
    RCHK_TRY_ASSIGN(const EventNumber event, event_at_percent(timeline_.source(), *part));
    RCHK_TRY(timeline_.seek({event, 0, 0, 0}));
  }
  return moved();
}

// Goes back to where `range` was last changed: a watchpoint that nobody sees.
Result<Monitor::Answer> TimelineTarget::go_to_last_change(AddressRange range, RunControl& control) {
  RCHK_TRY(before_move());
  RCHK_TRY_ASSIGN(const Position before, timeline_.position());
  timeline::StopPoints points;
  points.watches.push_back({range, translate::WatchKind::kWrite, {}});
  points.quiet_signals = ~uint64_t{0};
  timeline_.set_stop_points(std::move(points));
  timeline::RunCommand command;
  command.interrupted = [&control, asked = std::make_shared<bool>(false)] {
    if (!*asked) *asked = control.interrupted();
    return *asked;
  };
  timeline::StopKind kind;
  do {
    RCHK_TRY_ASSIGN(const timeline::TimelineStop stop, timeline_.backward(command));
    kind = stop.kind;
  } while (kind == timeline::StopKind::kExec);
  if (kind == timeline::StopKind::kWatchpoint) return moved();
  RCHK_TRY(timeline_.seek(before));
  RCHK_TRY_ASSIGN(Answer answer, moved());
  answer.text = kind == timeline::StopKind::kInterrupted
                    ? "interrupted; back where the search began\n"
                    : fmt::format(
                          "no instruction changed {} bytes at {} between the beginning and "
                          "here\n",
                          range.size(), range.begin);
  return answer;
}

Result<Monitor::Answer> TimelineTarget::tell_last_touch(GuestAddress address) {
  RCHK_TRY_ASSIGN(const auto span, timeline_.last_touch(range_of(address, 1)));
  return Answer{fmt::format("the page at {} can have changed last between {} and {}, and did not "
                            "since\n",
                            address.page_floor(), span.begin, span.end),
                false};
}

Result<Monitor::Answer> TimelineTarget::monitor_command(std::string_view command,
                                                        RunControl& control) {
  std::string_view rest = command;
  const std::string_view verb = next_word(rest);
  const std::string_view first = next_word(rest);
  const std::string_view second = next_word(rest);
  if (verb == "when") {
    RCHK_TRY_ASSIGN(std::string text, describe_present());
    return Answer{std::move(text), false};
  }
  if (verb == "goto") return go_to(first);
  if (verb == "bookmark" && first.empty()) return Answer{list_of_bookmarks(), false};
  if (verb == "bookmark") return set_bookmark(std::string(first));
  if (verb == "last") {
    const auto address = number_in(first);
    const auto length = number_in(second);
    if (!address || !length || *length == 0) {
      return fail(ErrorKind::kMisuse, "usage: monitor last ADDRESS LENGTH");
    }
    return go_to_last_change(range_of({*address}, *length), control);
  }
  if (verb == "touched") {
    const auto address = number_in(first);
    if (!address) return fail(ErrorKind::kMisuse, "usage: monitor touched ADDRESS");
    return tell_last_touch({*address});
  }
  if (verb == "index") {
    if (first != "on" && first != "off") {
      return fail(ErrorKind::kMisuse, "usage: monitor index on | off");
    }
    timeline_.use_index(first == "on");
    return Answer{fmt::format("searches back {} what they know to be without a hit\n",
                              first == "on" ? "pass over" : "run also through"),
                  false};
  }
  if (verb == "help" || verb.empty()) return Answer{std::string(kHelp), false};
  return fail(ErrorKind::kMisuse,
              fmt::format("there is no command '{}'; see `monitor help`", verb));
}

}  // namespace rchk::target
