// Tasks by the numbers that the guest has for them: those of a pid namespace that it may have made
// for itself (pid_namespaces(7)).

#include <cstdlib>
#include <filesystem>

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

// Where numbers_in_namespaces() has those of task's own namespace.
size_t level_of(pid_t task) {
  const size_t levels = numbers_in_namespaces(task).size();
  return levels == 0 ? 0 : levels - 1;
}

// Whether a file is one of the recorder's own /proc, and not of another namespace's.
bool is_of_own_proc(const std::string& path) {
  struct stat file, proc;
  return stat(path.c_str(), &file) != 0 || stat("/proc", &proc) != 0 || file.st_dev == proc.st_dev;
}

}  // namespace

// Null for one that is not recorded.
Task* Recorder::Impl::task_numbered(pid_t number, size_t level) const {
  if (level == 0) {
    const auto found = tasks_.find(number);
    return found == tasks_.end() ? nullptr : found->second.get();
  }
  const std::string own = read_proc_link(task_->tid, "ns/pid");
  for (const auto& [tid, task] : tasks_) {
    const std::vector<pid_t> numbers = numbers_in_namespaces(tid);
    if (numbers.size() <= level || numbers[level] != number) continue;
    const bool is_inside = numbers.size() > level + 1;  // of a namespace in that one
    if (is_inside || read_proc_link(tid, "ns/pid") == own) return task.get();
  }
  return nullptr;
}

// As calls of task_ name them.
Task* Recorder::Impl::task_named(uint64_t argument) const {
  if (argument == 0) return task_;
  return task_numbered(static_cast<pid_t>(argument), level_of(task_->tid));
}

// The task whose memory a descriptor of task_ is: of /proc/PID/mem or /proc/PID/task/TID/mem,
// wherever that is mounted.
Task* Recorder::Impl::task_of_memory_file(int32_t descriptor) const {
  const std::string name = fmt::format("fd/{}", descriptor);
  const std::filesystem::path target(read_proc_link(task_->tid, name));
  if (target.filename() != "mem" || is_out_of_reach(descriptor)) return nullptr;
  const std::string path = fmt::format("/proc/{}/{}", task_->tid, name);
  struct statfs system;
  if (statfs(path.c_str(), &system) != 0 || system.f_type != PROC_SUPER_MAGIC) return nullptr;
  const pid_t number = std::atoi(target.parent_path().filename().c_str());
  return task_numbered(number, is_of_own_proc(path) ? 0 : level_of(task_->tid));
}

}  // namespace rchk::record
