#include <filesystem>

#include <sys/prctl.h>

#include "engine/record/recorder_impl.h"
#include "engine/syscalls/descriptors.h"

namespace rchk::record {

namespace {

namespace nr = syscalls::nr;

// What the kernel calls a task now; empty where it does not tell.
std::string name_in_kernel(pid_t tid) {
  const auto contents = read_proc_file(tid, "comm");
  if (!contents) return "";
  std::string name(contents->begin(), contents->end());
  if (name.ends_with('\n')) name.pop_back();
  return name;
}

}  // namespace

// By which tasks may be named: /proc/PID/task/TID/comm and the like.
bool Recorder::Impl::is_name_file(pid_t pid, int32_t descriptor) const {
  const std::filesystem::path path(read_proc_link(pid, fmt::format("fd/{}", descriptor)));
  return path.filename() == "comm";
}

Result<void> Recorder::Impl::name_task(Task& task, const std::string& name) {
  if (name == task.name) return {};
  task.name = name;
  return sink_.name_task({task.tid}, name);
}

// A replay needs no names, and few calls give any. `body` is the event that was appended last.
Result<void> Recorder::Impl::note_names(Task& task, const trace::EventBody& body) {
  if (const auto* spawn = std::get_if<trace::SpawnEvent>(&body)) {
    const auto parent = tasks_.find(spawn->parent.value);
    task.name.clear();  // the sink may know of another task with that number
    return parent == tasks_.end() ? Result<void>() : name_task(task, parent->second->name);
  }
  if (std::holds_alternative<trace::ExecEvent>(body)) {
    task.name.clear();  // a thread that executes a program gets the first one's number
    return name_task(task, name_in_kernel(task.tid));
  }
  const auto* event = std::get_if<trace::SyscallEvent>(&body);
  if (event == nullptr) return {};
  if (event->number == nr::prctl && event->before.rdi == PR_SET_NAME && event->after.rax == 0) {
    return name_task(task, name_in_kernel(task.tid));
  }
  if (!names_opened_) return {};
  const auto result = static_cast<int64_t>(event->after.rax);
  const syscalls::Call call = syscalls::call_of(event->number, event->before);
  const auto written = syscalls::changed_file(call, result);
  if (!written || !is_name_file(task.tid, *written)) return {};
  // Of a thread of its own process (fs/proc/base.c, comm_write).
  for (const auto& [tid, other] : tasks_) {
    if (other->process != task.process || !other->announced) continue;
    RCHK_TRY(name_task(*other, name_in_kernel(tid)));
  }
  return {};
}

}  // namespace rchk::record
