#include "gdbserver/protocol/processes.h"

#include <algorithm>

#include "base/check.h"

namespace rchk::protocol {

target::Target& Processes::target() {
  RCHK_CHECK(target_ != nullptr || family_ != nullptr, "no process {}", current_.value);
  if (target_ == nullptr) target_ = family_->process(current_);
  RCHK_CHECK(target_ != nullptr, "process {} is none of the session's", current_.value);
  return *target_;
}

target::StopPointHolder& Processes::stop_points() {
  if (family_ == nullptr) return target();
  target::StopPointHolder* const points = family_->stop_points(current_);
  RCHK_CHECK(points != nullptr, "process {} is none of the session's", current_.value);
  return *points;
}

bool Processes::select(Tid pid) {
  if (pid == current_) return true;
  if (!has(pid)) return false;
  current_ = pid;
  target_ = nullptr;
  return true;
}

std::vector<Tid> Processes::all() {
  return family_ != nullptr ? family_->processes() : std::vector<Tid>{current_};
}

bool Processes::has(Tid pid) {
  const std::vector<Tid> pids = all();
  return std::find(pids.begin(), pids.end(), pid) != pids.end();
}

std::vector<target::ThreadInfo> Processes::threads(Tid pid) {
  return family_ != nullptr ? family_->threads(pid) : target().threads();
}

bool Processes::has_thread(Tid pid, Tid thread) {
  if (!has(pid)) return false;
  const std::vector<target::ThreadInfo> found = threads(pid);
  return std::any_of(found.begin(), found.end(),
                     [thread](const target::ThreadInfo& one) { return one.tid == thread; });
}

Result<void> Processes::detach(Tid pid) {
  RCHK_TRY(family_->detach(pid));
  if (pid == current_) {
    current_ = family_->processes().front();
    target_ = nullptr;
  }
  return {};
}

}  // namespace rchk::protocol
