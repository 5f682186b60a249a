#include "engine/trace/source.h"

#include "base/check.h"

namespace rchk::trace {

void TaskCount::add(const Event& event) {
  const auto* spawn = std::get_if<SpawnEvent>(&event.body);
  const auto* exec = std::get_if<ExecEvent>(&event.body);
  if (exec != nullptr && exec->resumed != nullptr) {
    ++processes;
    tasks += 1 + exec->resumed->others.size();
    return;
  }
  const bool begins = processes == 0 && exec != nullptr;
  if (begins || spawn != nullptr) ++tasks;
  if (begins || (spawn != nullptr && spawn->kind != SpawnKind::kThread)) ++processes;
}

Result<FileId> TeeSink::add_file(const FileInfo& info) {
  RCHK_TRY_ASSIGN(const FileId first, first_.add_file(info));
  RCHK_TRY_ASSIGN(const FileId second, second_.add_file(info));
  RCHK_CHECK(first == second, "{} and {}", first.value, second.value);
  return first;
}

Result<void> TeeSink::add_file_range(FileId file, uint64_t offset_bytes, ByteView bytes) {
  RCHK_TRY(first_.add_file_range(file, offset_bytes, bytes));
  return second_.add_file_range(file, offset_bytes, bytes);
}

Result<EventNumber> TeeSink::append(const Event& event) {
  RCHK_TRY_ASSIGN(const EventNumber first, first_.append(event));
  RCHK_TRY_ASSIGN(const EventNumber second, second_.append(event));
  RCHK_CHECK(first == second, "{} and {}", first, second);
  return first;
}

Result<void> TeeSink::name_task(Tid tid, const std::string& name) {
  RCHK_TRY(first_.name_task(tid, name));
  return second_.name_task(tid, name);
}

Result<void> TeeSink::add_snapshot(Snapshot snapshot, PageDelta delta) {
  RCHK_TRY(first_.add_snapshot(snapshot, delta));
  return second_.add_snapshot(std::move(snapshot), std::move(delta));
}
Result<void> TeeSink::add_beginning(std::vector<KeptProcess> processes) {
  RCHK_TRY(first_.add_beginning(processes));
  return second_.add_beginning(std::move(processes));
}

Result<void> TeeSink::end_space(uint32_t space) {
  RCHK_TRY(first_.end_space(space));
  return second_.end_space(space);
}

Result<void> TeeSink::flush() {
  RCHK_TRY(first_.flush());
  return second_.flush();
}

// Both are closed, even if the first could not be.
Result<void> TeeSink::close() {
  Result<void> first = first_.close();
  Result<void> second = second_.close();
  return first ? second : first;
}

}  // namespace rchk::trace
