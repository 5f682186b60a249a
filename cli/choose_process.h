#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/trace/process_view.h"
#include "engine/trace/source.h"

namespace rchk::cli {

// Which process of a recording a user means.
struct ProcessChoice {
  std::optional<std::string> process;  // a pid, or a program's name; from the program on
  std::optional<std::string> forked;   // a pid; from its fork on
  bool is_made() const { return process || forked; }
};

// The events of one process of a recording.
struct ChosenProcess {
  std::unique_ptr<trace::ProcessView> view;  // null where the recording is of one process only
  trace::EventSource* source = nullptr;
  EventNumber beginning;  // where the process itself begins, behind what leads there
  // The TaskEndEvent of the process's last task, where others went on in its memory.
  std::optional<EventNumber> end;
  trace::ProcessIndex process;
};

// Without a choice: the first process. `recording` outlives it.
Result<ChosenProcess> choose_process(trace::EventSource& recording, const ProcessChoice& choice);

}  // namespace rchk::cli
