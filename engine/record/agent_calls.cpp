// The agent in a guest: when it is put there, and what it has written down (agent.h).

#include <algorithm>
#include <csignal>

#include <linux/magic.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/record/address_changes.h"
#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

using tracee::ResumeMode;
using tracee::StopStatus;

constexpr uint8_t kInt3 = 0xcc, kJump = 0xe9;
// So many a descriptor has to have: many are closed before.
constexpr uint32_t kCallsOfDescriptor = 8;

bool may_read_bases() {
  constexpr unsigned long kFsgsbase = 1 << 1;  // HWCAP2_FSGSBASE, asm/hwcap2.h
  return (getauxval(AT_HWCAP2) & kFsgsbase) != 0;
}

// Raised by an instruction.
bool is_fault(int signal, const siginfo_t& info) {
  return (signal_bit(signal) & kFaultSignals) != 0 && info.si_code > 0;
}

// Where bytes of a guest are replaced for a moment.
class Replaced {
 public:
  static Result<Replaced> by_int3(tracee::Tracee& tracee, GuestAddress address) {
    Replaced one{address};
    if (tracee.read_memory(address, {&one.kept_, 1}) != 1) {
      return fail(ErrorKind::kGone, "the agent's code is gone");
    }
    RCHK_TRY(tracee.write_memory(address, {&kInt3, 1}));
    return one;
  }
  GuestAddress address() const { return address_; }
  uint8_t kept() const { return kept_; }

 private:
  explicit Replaced(GuestAddress address) : address_(address) {}
  GuestAddress address_;
  uint8_t kept_ = 0;
};

// Where reading and writing at an offset has no other end, and neither waits for others.
bool is_plain_file_system(const struct statfs& system) {
  switch (static_cast<unsigned long>(system.f_type)) {
    case EXT4_SUPER_MAGIC:  // and ext2, ext3
    case TMPFS_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case OVERLAYFS_SUPER_MAGIC:
      return true;
    default:
      return false;
  }
}

bool touches(const trace::AddressSpaceChange& change, AddressRange range) {
  if (const auto* map = std::get_if<trace::MapChange>(&change)) {
    return map->mapping.range.overlaps(range);
  }
  if (const auto* unmap = std::get_if<trace::UnmapChange>(&change)) {
    return unmap->range.overlaps(range);
  }
  if (const auto* protect = std::get_if<trace::ProtectChange>(&change)) {
    return protect->range.overlaps(range);
  }
  if (const auto* moved = std::get_if<trace::RemapChange>(&change)) {
    return moved->from.overlaps(range) || moved->to.overlaps(range);
  }
  const auto* discard = std::get_if<trace::DiscardChange>(&change);
  return discard != nullptr && discard->range.overlaps(range);
}

}  // namespace

std::vector<snapshot::FileId> files_mapped_by(const trace::SyscallEvent& event) {
  std::vector<snapshot::FileId> files;
  for (const trace::AddressSpaceChange& change : event.changes) {
    const auto* map = std::get_if<trace::MapChange>(&change);
    if (map != nullptr && map->mapping.backing) files.push_back(map->mapping.backing->file);
  }
  return files;
}

// Behind the event of a call that has ended.
Result<void> Recorder::Impl::consider_agent(const PendingCall& call, int64_t result) {
  if (!options_.agent_after || call.answer) return {};
  Space& space = *task_->space;
  AgentUse& use = space.agent_use;
  const Confinement& confinement = space.confinement;
  const int32_t number = call.entry.call.number;
  if (reads_clock(number) && confinement.vdso.contains(call.before.pc())) ++use.clock_calls;
  if (!use.clock_tried && use.clock_calls >= *options_.agent_after && can_have_agent()) {
    use.clock_tried = true;
    if (clock_code_bytes() <= confinement.calls.room_bytes) RCHK_TRY(begin_clock_agent());
  }
  return is_file_call(number) ? consider_file_call(call, result) : Result<void>();
}

// A filter is given to all threads of a process, and to no other process.
bool Recorder::Impl::can_have_agent() const {
  return std::all_of(tasks_.begin(), tasks_.end(), [this](const auto& item) {
    return item.second->space != task_->space || item.second->process == task_->process;
  });
}

// A ring, and the filter. False where they cannot be had.
Result<bool> Recorder::Impl::begin_agent(trace::MemoryEvent& event) {
  Space& space = *task_->space;
  if (space.agent) return true;
  // Of several filters the strictest answer holds: a call that one refuses would not stop at all.
  static const bool has_others = is_filtered(getpid());
  if (has_others) return false;
  if (agent_cookies_.first == 0 &&
      getrandom(&agent_cookies_, sizeof(agent_cookies_), 0) != sizeof(agent_cookies_)) {
    return false;
  }
  if (!task_->process->filtered) {
    RCHK_TRY_ASSIGN(const int64_t result, install_filter(agent_filter(agent_cookies_)));
    if (result != 0) return false;
    task_->process->filtered = true;
  }
  RCHK_TRY_ASSIGN(const auto ring,
                  map_for_guest(Agent::ring_bytes(), PROT_READ | PROT_WRITE, event));
  if (!ring) return false;
  Agent agent;
  agent.ring = *ring;
  agent.cookies = agent_cookies_;
  agent.bases = may_read_bases();
  space.agent = std::move(agent);
  return true;
}

// Memory that is the guest's from now on. None if there is none to be had.
Result<std::optional<GuestAddress>> Recorder::Impl::map_for_guest(uint64_t bytes, int protection,
                                                                  trace::MemoryEvent& event) {
  using Mapped = std::optional<GuestAddress>;
  constexpr uint64_t kNoFile = ~0ull;
  Space& space = *task_->space;
  const syscalls::Call map{
      SYS_mmap,
      {0, bytes, static_cast<uint64_t>(protection), MAP_PRIVATE | MAP_ANONYMOUS, kNoFile, 0}};
  RCHK_TRY_ASSIGN(const int64_t mapped, task_->tracee.remote_syscall(space.confinement.gadget,
                                                                     map.number, map.arguments));
  if (mapped < 0) return Mapped();
  const auto effects = syscalls::address_space_effects(map, mapped, space.brk);
  RCHK_TRY_ASSIGN(
      AddressChanges changes,
      recorded_changes(effects, task_->tracee, files_, space.memory, space.scratch.all(),
                       [this](std::string_view text) { say(text); }));
  std::move(changes.changes.begin(), changes.changes.end(), std::back_inserter(event.changes));
  std::move(changes.writes.begin(), changes.writes.end(), std::back_inserter(event.writes));
  return Mapped(GuestAddress{static_cast<uint64_t>(mapped)});
}

// Writes what is to be written, and the event that says so.
Result<void> Recorder::Impl::add_agent_event(trace::MemoryEvent event) {
  if (event.changes.empty() && event.writes.empty()) return {};
  Space& space = *task_->space;
  for (const trace::MemoryWrite& write : event.writes) {
    RCHK_TRY(task_->tracee.write_memory(write.address, write.bytes));
  }
  if (space.reference) note_changes(event.changes, *space.reference->tracker);
  return append(std::move(event));
}

Result<void> Recorder::Impl::begin_clock_agent() {
  Space& space = *task_->space;
  trace::MemoryEvent event;
  RCHK_TRY_ASSIGN(const bool begun, begin_agent(event));
  if (begun) {
    const Confinement& confinement = space.confinement;
    const GuestAddress vdso = confinement.vdso.begin;
    for (trace::MemoryWrite& write :
         clock_code(*space.agent, vdso + confinement.calls.room, vdso, confinement.calls)) {
      event.writes.push_back(std::move(write));
    }
  }
  return add_agent_event(std::move(event));
}

// A small read or write of a file.
Result<void> Recorder::Impl::consider_file_call(const PendingCall& call, int64_t result) {
  Space& space = *task_->space;
  AgentUse& use = space.agent_use;
  const syscalls::Call& made = call.entry.call;
  if (result < 0 || made.arguments[2] > Agent::most_bytes()) return {};
  const auto known = space.agent ? space.agent->functions.find(made.number)
                                 : std::map<int32_t, FileFunction>::iterator();
  const bool served = space.agent && known != space.agent->functions.end();
  if (served) {
    const bool by_it = known->second.call() == call.before.pc();
    return by_it ? consider_descriptor(static_cast<int32_t>(made.arguments[0])) : Result<void>();
  }
  const bool wanted = ++use.file_calls >= *options_.agent_after && can_have_agent();
  if (!wanted || !use.functions_tried.insert(made.number).second) return {};
  return begin_file_agent(made.number, call.before.pc());
}

Result<void> Recorder::Impl::begin_file_agent(int32_t number, GuestAddress call) {
  Space& space = *task_->space;
  const GuestAddress head = call - FileFunction::kCallInHead;
  uint8_t bytes[FileFunction::kBytes] = {};
  if (task_->tracee.read_memory(head, bytes) != sizeof(bytes)) return {};
  const auto function = FileFunction::find(number, head, bytes);
  const trace::Mapping* const mapping = space.memory.find(head);
  if (!function || mapping == nullptr || mapping->shared) return {};
  trace::MemoryEvent event;
  RCHK_TRY_ASSIGN(const bool begun, begin_agent(event));
  if (!begun) return add_agent_event(std::move(event));
  Agent& agent = *space.agent;
  if (agent.data.value == 0) {
    RCHK_TRY_ASSIGN(const auto data,
                    map_for_guest(Agent::data_bytes(), PROT_READ | PROT_WRITE, event));
    RCHK_TRY_ASSIGN(const auto code, map_for_guest(kPageSize, PROT_READ | PROT_EXEC, event));
    if (data && code) {
      agent.data = *data;
      agent.file_code = *code;
    }
  }
  if (agent.data.value != 0) {
    const uint64_t room = kPageSize / 2;
    const GuestAddress at = agent.file_code + (number == SYS_pread64 ? 0 : room);
    for (trace::MemoryWrite& write : file_code(agent, at, *function)) {
      event.writes.push_back(std::move(write));
    }
  }
  return add_agent_event(std::move(event));
}

// Lets the agent make the calls of a descriptor, once there have been some.
Result<void> Recorder::Impl::consider_descriptor(int descriptor) {
  Space& space = *task_->space;
  Agent& agent = *space.agent;
  const bool can_be = descriptor >= 0 && descriptor < Agent::most_descriptors();
  if (!can_be || agent.descriptors.contains(descriptor)) return {};
  if (++space.agent_use.of_descriptor[descriptor] != kCallsOfDescriptor) return {};
  const auto file = file_for_agent(descriptor);
  if (!file) return {};
  agent.descriptors[descriptor] = *file;
  return add_agent_event({{}, {descriptor_byte(agent, descriptor)}});
}

// The device and inode of what a descriptor of task_ refers to, if calls of it do nothing but read
// and write a file: none that is mapped anywhere, that a replay repeats, or of which the kernel or
// another program is the other end.
std::optional<std::pair<uint64_t, uint64_t>> Recorder::Impl::file_for_agent(int descriptor) const {
  const bool is_restricted = task_->sandbox.mode() != syscalls::Sandbox::Mode::kNone;
  if (is_restricted || !can_have_agent() || files_shared_) return std::nullopt;
  // A write behind the end of what is allowed raises a signal, which the guest is to get right
  // there.
  struct rlimit limit {};
  const bool is_limited =
      prlimit(task_->tid, RLIMIT_FSIZE, nullptr, &limit) != 0 || limit.rlim_cur != RLIM_INFINITY;
  if (is_limited) return std::nullopt;
  if (task_->streams->stream_of(descriptor) != trace::OutputStream::kNone) return std::nullopt;
  const std::string path = fmt::format("/proc/{}/fd/{}", task_->tid, descriptor);
  struct stat status {};
  struct statfs system {};
  if (stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  if (statfs(path.c_str(), &system) != 0 || !is_plain_file_system(system)) return std::nullopt;
  const std::pair<uint64_t, uint64_t> file{status.st_dev, status.st_ino};
  std::set<const Space*> seen;
  for (const auto& [tid, task] : tasks_) {
    if (!seen.insert(task->space.get()).second) continue;
    for (const auto& [begin, mapping] : task->space->memory.mappings()) {
      if (!mapping.backing) continue;
      const FileStore::Version& version = files_.version(mapping.backing->file);
      if (std::pair(version.device, version.inode) == file) return std::nullopt;
    }
  }
  return file;
}

// What a call has done to descriptors, and what it has mapped, is nothing for the agent any more.
Result<void> Recorder::Impl::end_agent_descriptors(const PendingCall& call,
                                                   const std::vector<snapshot::FileId>& mapped) {
  Space& space = *task_->space;
  const syscalls::Call& made = call.entry.call;
  std::vector<int> ended;
  switch (made.number) {
    case SYS_close:
      ended.push_back(static_cast<int32_t>(made.arguments[0]));
      break;
    case SYS_dup2:
    case SYS_dup3:
      ended.push_back(static_cast<int32_t>(made.arguments[1]));
      break;
    case SYS_setrlimit:
      return made.arguments[0] == RLIMIT_FSIZE ? end_agent_file(std::nullopt) : Result<void>();
    case SYS_prlimit64: {
      const bool limits = made.arguments[1] == RLIMIT_FSIZE && made.arguments[2] != 0;
      return limits ? end_agent_file(std::nullopt) : Result<void>();
    }
    case SYS_seccomp:
    case SYS_prctl:
      if (task_->sandbox.mode() == syscalls::Sandbox::Mode::kNone) return {};
      return end_agent_file(std::nullopt);
    case SYS_close_range:
      for (const auto& [descriptor, calls] : space.agent_use.of_descriptor) {
        ended.push_back(descriptor);
      }
      break;
    default:
      break;
  }
  for (const int descriptor : ended) {
    space.agent_use.of_descriptor.erase(descriptor);
    if (!space.agent || space.agent->descriptors.erase(descriptor) == 0) continue;
    RCHK_TRY(add_agent_event({{}, {descriptor_byte(*space.agent, descriptor)}}));
  }
  if (files_shared_) return end_agent_file(std::nullopt);
  return end_agent_files(mapped);
}

Result<void> Recorder::Impl::end_agent_files(const std::vector<snapshot::FileId>& mapped) {
  for (const snapshot::FileId id : mapped) {
    const FileStore::Version& version = files_.version(id);
    RCHK_TRY(end_agent_file(std::pair(version.device, version.inode)));
  }
  return {};
}

// In all memories: the file is mapped now. None: whatever file it is, its descriptors are of others
// as well.
Result<void> Recorder::Impl::end_agent_file(std::optional<std::pair<uint64_t, uint64_t>> file) {
  std::set<Space*> seen;
  for (const auto& [tid, task] : tasks_) {
    Space& space = *task->space;
    if (!space.agent || space.agent->descriptors.empty() || !seen.insert(&space).second) continue;
    trace::MemoryEvent event;
    std::vector<int> ended;
    for (const auto& [descriptor, known] : space.agent->descriptors) {
      if (!file || known == *file) ended.push_back(descriptor);
    }
    bool gone = false;
    for (const int descriptor : ended) {
      space.agent->descriptors.erase(descriptor);
      space.agent_use.of_descriptor.erase(descriptor);
      event.writes.push_back(descriptor_byte(*space.agent, descriptor));
      const trace::MemoryWrite& write = event.writes.back();
      gone |= !task->tracee.write_memory(write.address, write.bytes);  // a process that is dying
    }
    if (!gone && !event.writes.empty()) RCHK_TRY(add_memory_event(space, std::move(event)));
  }
  return {};
}

// The guest changes what is mapped where the agent is: it does without. `event`: of that call.
Result<void> Recorder::Impl::end_agent_if_touched(trace::SyscallEvent& event) {
  Space& space = *task_->space;
  if (!space.agent || event.changes.empty()) return {};
  const Agent& agent = *space.agent;
  const AddressRange vdso = space.confinement.vdso;
  std::vector<AddressRange> parts{vdso, range_of(agent.ring, Agent::ring_bytes())};
  if (agent.data.value != 0) {
    parts.push_back(range_of(agent.data, Agent::data_bytes()));
    parts.push_back(range_of(agent.file_code, kPageSize));
  }
  for (const auto& [number, function] : agent.functions) {
    parts.push_back(range_of(function.head, FileFunction::kBytes));
  }
  bool ends = false;
  GuestAddress now = vdso.begin;
  for (const trace::AddressSpaceChange& change : event.changes) {
    for (const AddressRange& part : parts) ends |= touches(change, part);
    const auto* moved = std::get_if<trace::RemapChange>(&change);
    if (moved != nullptr && moved->from.contains(now)) {
      now = moved->to.begin + (now - moved->from.begin);
    }
  }
  if (!ends) return {};
  std::vector<trace::MemoryWrite> heads = plain_heads(now, space.confinement.calls);
  for (const auto& [number, function] : agent.functions) heads.push_back(plain_head(function));
  space.agent.reset();
  for (trace::MemoryWrite& head : heads) {
    const trace::Mapping* const mapping = space.memory.find(head.address);
    if (mapping == nullptr) continue;
    // What lies there may be something else by now.
    uint8_t first = 0;
    if (task_->tracee.read_memory(head.address, {&first, 1}) != 1 || first != kJump) continue;
    RCHK_TRY(task_->tracee.write_memory(head.address, head.bytes));
    space.snapshots.changes.note_written({head});
    event.writes.push_back(std::move(head));
  }
  return {};
}

// At a stop of `task` that nothing has been done about yet: what the agent has written down since
// the last stop in its memory comes first.
Result<void> Recorder::Impl::settle_agent(Task& task) {
  if (!task.space->agent || task.call || task.unread->is_gone()) return {};
  switch (task.unread->kind) {
    case StopStatus::Kind::kEvent:
      // Behind an execve the memory is another one.
      return task.unread->value == tracee::kEventExec ? Result<void>() : settle_agent_at(task);
    case StopStatus::Kind::kSignal:
    case StopStatus::Kind::kGroupStop:
    case StopStatus::Kind::kInterrupted:
      return settle_agent_at(task);
    default:
      return read_agent_calls(*task.space);
  }
}

Result<void> Recorder::Impl::settle_agent_at(Task& task) {
  const auto is_dying = [&task] {
    return task.unread->kind == StopStatus::Kind::kEvent &&
           task.unread->value == tracee::kEventExit;
  };
  // Copied: what it is told next may end it.
  const Agent agent = *task.space->agent;
  if (!is_dying()) {
    const Result<Registers> now = task.tracee.registers();
    const AgentCode* const code = now ? agent.within(now->pc()) : nullptr;
    if (code != nullptr) {
      const Result<void> left = leave_agent(task, *code);
      if (!left && left.error().kind != ErrorKind::kGone) return left;
    }
  }
  RCHK_TRY(read_agent_calls(*task.space));
  if (!is_dying()) return {};
  Result<Registers> now = task.tracee.registers();
  if (!now) return {};
  for (const auto& [number, part] : agent.code) {
    const GuestAddress before = now->pc() - 1;
    if (before != part.finished && before != part.traced) continue;
    now->rip = before.value;  // it was killed at a trap of the recorder's
    RCHK_TRY(task.tracee.set_registers(*now));
    break;
  }
  const AgentCode* const code = agent.within(now->pc());
  if (code == nullptr || !code->has_called(now->pc())) return {};
  // A call has been made that nobody knows the result of: no replay comes to what is behind it.
  task.place_lost = true;
  task.behind_event = true;
  return {};
}

Result<void> Recorder::Impl::read_agent_calls(Space& space) {
  Agent& agent = *space.agent;
  const auto user = tasks_.find(agent.user);
  if (user == tasks_.end() || user->second->space.get() != &space) return {};
  Task& task = *user->second;
  uint8_t head[sizeof(uint32_t)];
  if (task.tracee.read_memory(agent.ring, head) != sizeof(head)) return {};
  const uint32_t calls = agent_calls(head);
  if (calls == agent.calls_read) return {};
  Bytes ring(Agent::ring_bytes());
  if (task.tracee.read_memory(agent.ring, ring) != ring.size()) return {};
  while (agent.calls_read != calls) {
    ++agent.calls_read;
    auto made = agent_event(agent, ring, agent.calls_read, task.last_registers);
    if (!made || agent.calls_read == agent.call_told) continue;
    task.last_registers = made->event.after;
    if (made->data) {
      trace::MemoryWrite write{{made->event.after.rsi}, Bytes(made->data->size())};
      write.bytes.resize(task.tracee.read_memory(made->data->begin, write.bytes));
      made->event.writes.push_back(std::move(write));
    }
    // No later than it was: how far a replay looks for a state goes by the time since. Nobody else
    // has run.
    RCHK_TRY(append_at(last_event_ns_, task, std::move(made->event)));
  }
  // It has run on since.
  task.behind_event = false;
  task.pending_at_event = 0;
  task.place_now.reset();
  return {};
}

// From now on the calls in the ring are of `task`.
void Recorder::Impl::become_user_of_agent(Task& task) {
  Agent& agent = *task.space->agent;
  const pid_t before = std::exchange(agent.user, task.tid);
  if (before == task.tid || before < 0 || tasks_.contains(before)) return;
  // SIGKILL ended that one where nobody heard of it: what it had not told is lost.
  uint8_t head[sizeof(uint32_t)];
  if (task.tracee.read_memory(agent.ring, head) == sizeof(head)) {
    agent.calls_read = agent_calls(head);
  }
}

// Lets a task that stopped while it uses the ring go on until it does not, and be stopped there as
// it was.
Result<void> Recorder::Impl::leave_agent(Task& task, const AgentCode& code) {
  const StopStatus first = *task.unread;
  siginfo_t info{};
  if (first.kind == StopStatus::Kind::kSignal) {
    RCHK_TRY_ASSIGN(info, task.tracee.signal_info());
    // Raised by the code itself: something is wrong with its memory, and the guest is to hear of
    // it.
    if (is_fault(first.value, info)) return {};
  }
  RCHK_TRY_ASSIGN(const SignalStatus status, read_signal_status(task.tid));
  RCHK_TRY_ASSIGN(const uint64_t mask, task.tracee.signal_mask());
  AgentExit exit;
  exit.in_group_stop = first.kind == StopStatus::Kind::kGroupStop;
  Result<void> gone_on;
  {
    std::vector<Replaced> traps;
    const auto trap = [&](GuestAddress at) -> Result<void> {
      RCHK_TRY_ASSIGN(const Replaced one, Replaced::by_int3(task.tracee, at));
      traps.push_back(one);
      return {};
    };
    gone_on = trap(code.finished);
    if (gone_on) gone_on = trap(code.traced);
    if (gone_on) gone_on = go_on_to_end(task, code, mask, exit);
    // Whatever has become of the task: its memory may be that of others.
    for (const Replaced& one : traps) undo_trap(task, one.address(), one.kept());
  }
  RCHK_TRY(gone_on);
  if (exit.other) task.unread = exit.other;
  const bool is_gone = exit.other && exit.other->kind != StopStatus::Kind::kSignal;
  if (is_gone) return {};
  Registers now = exit.registers;
  if (!exit.other && now.pc() == code.finished && code.behind.value != 0) {
    now.rip = code.behind.value;
  } else if (!exit.other && now.pc() == code.finished) {
    // No debugger and no handler is to find a task there: nothing says how to unwind its stack.
    uint64_t caller = 0;
    const std::span<uint8_t> bytes{reinterpret_cast<uint8_t*>(&caller), sizeof(caller)};
    if (task.tracee.read_memory({now.rsp}, bytes) == sizeof(caller)) {
      now.rip = caller;
      now.rsp += sizeof(caller);
    }
  }
  if (!exit.other) {
    now.orig_rax = kNoCall;
    RCHK_TRY(task.tracee.set_registers(now));
    const bool ignored = (status.ignored & signal_bit(SIGTRAP)) != 0;
    Task* const current = std::exchange(task_, &task);
    const Result<void> stopped = stop_again_as(first, info, ignored);
    task_ = current;
    RCHK_TRY(stopped);
  } else if (first.kind == StopStatus::Kind::kSignal) {
    exit.later.push_back(info);
  }
  RCHK_TRY(task.tracee.set_signal_mask(mask));
  for (siginfo_t& one : exit.later) {
    // The kernel lets nobody say that it was itself, or another process, that sent one.
    if (syscall(SYS_rt_tgsigqueueinfo, task.process->pid, task.tid, one.si_signo, &one) != 0) {
      ::syscall(SYS_tgkill, task.process->pid, task.tid, one.si_signo);
    }
  }
  if (exit.in_group_stop) RCHK_TRY(task.tracee.interrupt());  // says that it still is
  if (exit.other || first.kind != StopStatus::Kind::kGroupStop) return {};
  RCHK_TRY(task.tracee.resume(ResumeMode::kContinue));
  RCHK_TRY_ASSIGN(task.unread, task.tracee.wait());
  return {};
}

// To one of the two traps at the ends of `code`.
Result<void> Recorder::Impl::go_on_to_end(Task& task, const AgentCode& code, uint64_t mask,
                                          AgentExit& exit) {
  RCHK_TRY(task.tracee.set_signal_mask((mask | ~kFaultSignals) & ~signal_bit(SIGTRAP)));
  for (;;) {
    RCHK_TRY(task.tracee.resume(ResumeMode::kContinue));
    RCHK_TRY_ASSIGN(const StopStatus stop, task.tracee.wait());
    if (stop.kind == StopStatus::Kind::kInterrupted) continue;
    if (stop.kind == StopStatus::Kind::kGroupStop) {
      exit.in_group_stop = true;
      continue;
    }
    if (stop.kind != StopStatus::Kind::kSignal) {
      exit.other = stop;
      return {};
    }
    RCHK_TRY_ASSIGN(const siginfo_t info, task.tracee.signal_info());
    RCHK_TRY_ASSIGN(exit.registers, task.tracee.registers());
    const GuestAddress before = exit.registers.pc() - 1;
    const bool at_end = before == code.finished || before == code.traced;
    if (stop.value == SIGTRAP && info.si_code == SI_KERNEL && at_end) {
      exit.registers.rip = before.value;
      return {};
    }
    if (is_fault(stop.value, info)) {
      exit.other = stop;
      return {};
    }
    exit.later.push_back(info);  // one that no mask keeps back, or that the guest's own does
  }
}

// By whoever has that memory.
void Recorder::Impl::undo_trap(Task& task, GuestAddress at, uint8_t kept) {
  if (task.tracee.pid() >= 0 && task.tracee.write_memory(at, {&kept, 1})) return;
  for (const auto& [tid, other] : tasks_) {
    const bool same = other.get() != &task && other->space == task.space;
    if (same && other->tracee.write_memory(at, {&kept, 1})) return;
  }
}

// task_ stands at a trap of the recorder's, and is to stand at the stop that came before it. All
// signals are blocked that can be. `ignored`: SIGTRAP was, which the trap has undone.
Result<void> Recorder::Impl::stop_again_as(const StopStatus& first, const siginfo_t& info,
                                           bool ignored) {
  Task& task = *task_;
  if (ignored) RCHK_TRY(set_handler(SIGTRAP, kIgnored));
  if (first.kind != StopStatus::Kind::kSignal) return {};
  if (!ignored) return task.tracee.set_signal_info(info);
  RCHK_TRY(task.tracee.set_signal_mask(~signal_bit(info.si_signo)));
  task.signal = info;
  const Result<void> restored = restore_signal_stop();
  task.signal.reset();
  return restored;
}

}  // namespace rchk::record
