#include "cli/choose_process.h"

#include <algorithm>
#include <charconv>

namespace rchk::cli {

namespace {

std::optional<int32_t> pid_of(const std::string& text) {
  int32_t pid = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, pid);
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional(pid) : std::nullopt;
}

}  // namespace

Result<ChosenProcess> choose_process(trace::EventSource& recording, const ProcessChoice& choice) {
  ChosenProcess chosen;
  if (!choice.is_made()) {
    const auto count = recording.task_count();
    if (!count || count->processes != 1) chosen.view = trace::ProcessView::of_first(recording);
    chosen.source = chosen.view ? chosen.view.get() : &recording;
    return chosen;
  }
  RCHK_TRY_ASSIGN(const trace::ProcessTable table, trace::ProcessTable::of(recording));
  const std::string& wanted = choice.forked ? *choice.forked : *choice.process;
  const std::optional<int32_t> pid = pid_of(wanted);
  std::optional<trace::ProcessIndex> index;
  if (pid) index = table.find(*pid);
  if (!index && !choice.forked) index = table.find(wanted);
  if (!index) {
    return fail(ErrorKind::kMisuse,
                fmt::format("the recording has no process {} (`rchk ps` lists them)", wanted));
  }
  const auto start =
      choice.forked ? trace::ProcessView::Start::kFork : trace::ProcessView::Start::kProgram;
  RCHK_TRY_ASSIGN(chosen.view, trace::ProcessView::create(recording, table, *index, start));
  chosen.source = chosen.view.get();
  chosen.process = *index;
  RCHK_TRY_ASSIGN(chosen.beginning, chosen.view->beginning());
  if (const auto& end = table.process(*index).end) {
    // Where it cannot be read the rest can still be looked at.
    const auto event = recording.event(end->event);
    if (event && std::holds_alternative<trace::TaskEndEvent>((*event)->body)) {
      chosen.end = chosen.view->local_number(end->event);
    }
  }
  return chosen;
}

}  // namespace rchk::cli
