#include "engine/trace/task_names.h"

#include <algorithm>
#include <iterator>

namespace rchk::trace {

void TaskNames::add(const TaskName& name) {
  changes_[name.tid.value].push_back({name.from, name.name});
}

std::string TaskNames::at(EventNumber event, Tid tid) const {
  const auto known = changes_.find(tid.value);
  if (known == changes_.end()) return "";
  const auto next =
      std::upper_bound(known->second.begin(), known->second.end(), event,
                       [](EventNumber value, const Change& change) { return value < change.from; });
  return next == known->second.begin() ? "" : std::prev(next)->name;
}

}  // namespace rchk::trace
