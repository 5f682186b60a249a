#include "engine/trace/process_table.h"

#include <algorithm>
#include <cstring>

#include <sys/wait.h>

#include "engine/trace/process_map.h"

namespace rchk::trace {

namespace {

// What an ExecEvent says of the new program's memory.
class InitialMemory {
 public:
  explicit InitialMemory(const std::vector<MemoryWrite>& contents) : contents_(contents) {}

  std::optional<uint64_t> word(GuestAddress address) const {
    const ByteView bytes = from(address);
    uint64_t value = 0;
    if (bytes.size() < sizeof(value)) return std::nullopt;
    std::memcpy(&value, bytes.data(), sizeof(value));
    return value;
  }
  // Up to its end, or to some length.
  std::string text(GuestAddress address) const {
    constexpr size_t kLongest = 4096;
    ByteView bytes = from(address);
    bytes = bytes.first(std::min(bytes.size(), kLongest));
    return {bytes.begin(), std::find(bytes.begin(), bytes.end(), 0)};
  }

 private:
  ByteView from(GuestAddress address) const {
    for (const MemoryWrite& run : contents_) {
      if (address < run.address || address - run.address >= run.bytes.size()) continue;
      return ByteView(run.bytes).subspan(address - run.address);
    }
    return {};
  }

  const std::vector<MemoryWrite>& contents_;
};

std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

// At a program's start the stack pointer is at their count, and pointers to them follow (System V
// psABI for x86-64, 3.4.1, "Initial Stack").
std::vector<std::string> arguments_of(const ExecEvent& exec) {
  constexpr uint64_t kMost = 64;
  const InitialMemory memory(exec.contents);
  const GuestAddress stack{exec.registers.rsp};
  std::vector<std::string> arguments;
  const uint64_t count = std::min(memory.word(stack).value_or(0), kMost);
  for (uint64_t i = 1; i <= count; ++i) {
    const auto pointer = memory.word(stack + i * sizeof(uint64_t));
    if (!pointer) break;
    arguments.push_back(memory.text({*pointer}));
  }
  return arguments;
}

ProcessTable::ProcessTable(std::vector<Process> processes, Spaces spaces, uint64_t event_count)
    : processes_(std::move(processes)), spaces_(std::move(spaces)), event_count_(event_count) {
  for (size_t i = 0; i < processes_.size(); ++i) by_pid_[processes_[i].pid] = {i};
}

Result<ProcessTable> ProcessTable::of(EventSource& source) {
  if (const ProcessMap* const map = source.process_map()) return map->table();
  ProcessTable table;
  const uint64_t count = source.event_count();
  for (uint64_t i = 0; i < count; ++i) {
    RCHK_TRY_ASSIGN(const auto event, source.event({i}));
    RCHK_TRY(table.add(*event));
  }
  return table;
}

Result<ProcessTable::Owners> ProcessTable::add(const Event& event) {
  Result<Owners> owners = [&] {
    if (const auto* exec = std::get_if<ExecEvent>(&event.body)) return add_exec(event, *exec);
    if (const auto* spawn = std::get_if<SpawnEvent>(&event.body)) return add_spawn(event, *spawn);
    return add_other(event);
  }();
  if (!owners) return owners;
  note_event_of_task(event);
  ++event_count_;
  return owners;
}

void ProcessTable::note_event_of_task(const Event& event) {
  const auto task = tasks_.find(event.tid.value);
  if (task == tasks_.end()) return;
  task->second.last = {event_count_};
  if (!task->second.made || !std::holds_alternative<SyscallEvent>(event.body)) return;
  processes_[task->second.made->value].maker_returned = EventNumber{event_count_};
  task->second.made.reset();
}

Result<ProcessTable::Owners> ProcessTable::add_exec(const Event& event, const ExecEvent& exec) {
  ProcessIndex process;
  std::optional<ProcessIndex> left;
  if (exec.resumed != nullptr) return add_resumed(event, exec);
  if (event_count_ == 0) {
    process = begin_process(exec.pid, ProcessOrigin::kFirst);
  } else {
    // Of several threads it is the first one that is left, whichever executed the program.
    const auto named = by_pid_.find(exec.pid);
    const auto task = tasks_.find(event.tid.value);
    if (named == by_pid_.end()) return bad(fmt::format("process {} does not exist", exec.pid));
    process = named->second;
    const auto known = spaces_.find(event.space);
    if (known != spaces_.end() && known->second != process) {
      return bad(fmt::format("memory {} is another process's", event.space));
    }
    if (task != tasks_.end()) {
      const auto before = spaces_.find(task->second.space);
      if (before != spaces_.end() && before->second != process) left = before->second;
    }
    if (processes_[process.value].tasks > 1) {
      std::erase_if(tasks_, [&](const auto& item) { return item.second.process == process; });
    }
  }
  spaces_[event.space] = process;
  tasks_[event.tid.value] = {process, event.space, {event_count_}, std::nullopt};
  processes_[process.value].programs.push_back(
      {{event_count_}, exec.executable, arguments_of(exec), left});
  ++processes_[process.value].events;
  return Owners{process, left};
}

// A process that ran already where what is kept begins.
ProcessTable::Owners ProcessTable::add_resumed(const Event& event, const ExecEvent& exec) {
  const Resumed& resumed = *exec.resumed;
  const ProcessIndex index =
      begin_process(exec.pid, resumed.is_first ? ProcessOrigin::kFirst : ProcessOrigin::kFork);
  Process& process = processes_[index.value];
  process.is_resumed = true;
  process.events = 1;
  process.tasks = 1 + resumed.others.size();
  if (resumed.parent) {
    const auto parent = by_pid_.find(*resumed.parent);
    if (parent != by_pid_.end()) process.parent = parent->second;
  }
  process.programs.push_back({{event_count_}, exec.executable, resumed.arguments, std::nullopt});
  spaces_[event.space] = index;
  tasks_[event.tid.value] = {index, event.space};
  for (const WaitingTask& task : resumed.others) tasks_[task.tid.value] = {index, event.space};
  return Owners{index, std::nullopt};
}

Result<ProcessTable::Owners> ProcessTable::add_spawn(const Event& event, const SpawnEvent& spawn) {
  const auto parent = tasks_.find(spawn.parent.value);
  const auto memory = spaces_.find(spawn.parent_space);
  if (parent == tasks_.end()) return bad(fmt::format("task {} does not exist", spawn.parent.value));
  if (memory == spaces_.end())
    return bad(fmt::format("memory {} did not begin", spawn.parent_space));
  const ProcessIndex parent_process = parent->second.process, owner = memory->second;
  const bool is_new = spaces_.find(event.space) == spaces_.end();
  const bool fits = spawn.kind == SpawnKind::kFork ? is_new : event.space == spawn.parent_space;
  if (!fits) return bad(fmt::format("a task begins in memory {}", event.space));
  if (spawn.kind == SpawnKind::kThread) {
    tasks_[event.tid.value] = {parent_process, event.space, {event_count_}, std::nullopt};
    Process& process = processes_[parent_process.value];
    ++process.tasks;
    ++process.events;
    return Owners{owner, std::nullopt};
  }
  const bool forks = spawn.kind == SpawnKind::kFork;
  const ProcessIndex child =
      begin_process(spawn.pid, forks ? ProcessOrigin::kFork : ProcessOrigin::kVfork);
  Process& process = processes_[child.value];
  process.parent = parent_process;
  process.made_by = spawn.parent;
  process.made_behind = parent->second.last;
  if (!forks) parent->second.made = child;
  process.memory_from = owner;
  process.events = 1;
  if (forks) spaces_[event.space] = child;
  tasks_[event.tid.value] = {child, event.space, {event_count_}, std::nullopt};
  return Owners{forks ? child : owner, std::nullopt};
}

Result<ProcessTable::Owners> ProcessTable::add_other(const Event& event) {
  const auto memory = spaces_.find(event.space);
  if (memory == spaces_.end()) return bad(fmt::format("memory {} did not begin", event.space));
  const auto task = tasks_.find(event.tid.value);
  const auto* exit = std::get_if<ExitEvent>(&event.body);
  // The end of a recording may be nobody's.
  if (task == tasks_.end() && (exit == nullptr || exit->place == ExitPlace::kAtCall)) {
    return bad(fmt::format("task {} does not exist", event.tid.value));
  }
  if (task != tasks_.end() && task->second.space != event.space) {
    return bad(fmt::format("task {} is not in memory {}", event.tid.value, event.space));
  }
  const ProcessIndex owner = memory->second;
  const ProcessIndex process = task == tasks_.end() ? owner : task->second.process;
  ++processes_[process.value].events;
  if (const auto* end = std::get_if<TaskEndEvent>(&event.body)) end_task(event, *end);
  if (exit != nullptr) {
    processes_[process.value].end =
        ProcessEnd{{event_count_}, exit->reason, exit->status, exit->core_dumped};
    std::erase_if(tasks_, [&](const auto& item) { return item.second.process == process; });
  }
  return Owners{owner, std::nullopt};
}

void ProcessTable::end_task(const Event& event, const TaskEndEvent& end) {
  const ProcessIndex index = tasks_.at(event.tid.value).process;
  tasks_.erase(event.tid.value);
  for (const auto& [tid, task] : tasks_) {
    if (task.process == index) return;
  }
  const bool exited = WIFEXITED(end.status);
  processes_[index.value].end = ProcessEnd{{event_count_},
                                           exited ? ExitReason::kExited : ExitReason::kKilled,
                                           exited ? WEXITSTATUS(end.status) : WTERMSIG(end.status),
                                           WCOREDUMP(end.status) != 0};
}

ProcessIndex ProcessTable::begin_process(int32_t pid, ProcessOrigin origin) {
  Process process;
  process.pid = pid;
  process.origin = origin;
  process.begin = {event_count_};
  const ProcessIndex index{processes_.size()};
  processes_.push_back(std::move(process));
  by_pid_[pid] = index;
  return index;
}

std::optional<ProcessIndex> ProcessTable::find(int32_t pid) const {
  const auto found = by_pid_.find(pid);
  return found == by_pid_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<ProcessIndex> ProcessTable::find(const std::string& program) const {
  for (size_t i = 0; i < processes_.size(); ++i) {
    for (const Program& item : processes_[i].programs) {
      const std::string& called = item.arguments.empty() ? item.executable : item.arguments[0];
      const bool fits = item.executable == program || file_name(item.executable) == program ||
                        file_name(called) == program;
      if (fits) return ProcessIndex{i};
    }
  }
  return std::nullopt;
}

Failure ProcessTable::bad(std::string_view what) const {
  return fail(ErrorKind::kBadTrace, fmt::format("event {} cannot be: {}", event_count_, what));
}

}  // namespace rchk::trace
