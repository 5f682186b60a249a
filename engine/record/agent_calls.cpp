// When an agent is put into a guest (agent.h).

#include <algorithm>
#include <utility>

#include <linux/seccomp.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/record/address_changes.h"
#include "engine/record/limits.h"
#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

bool may_read_bases() {
  constexpr unsigned long kFsgsbase = 1 << 1;  // HWCAP2_FSGSBASE, asm/hwcap2.h
  return (getauxval(AT_HWCAP2) & kFsgsbase) != 0;
}

// Whether the guest may give itself filters: those that there are could kill it for trying.
bool may_add_filters() {
  static const bool may = [] {
    const pid_t child = fork();
    if (child == 0) {
      sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
      const sock_fprog program{1, &allow};
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
      const long done = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, kFilterFlags, &program);
      _exit(done == 0 ? 0 : 1);
    }
    int status = 1;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return child > 0 && status == 0;
  }();
  return may;
}

// Any program address will do that no call is made from.
StopsBySignal random_stops(uint64_t random) {
  constexpr uint64_t kProgramBits = 46;
  return {{(random & ((1ull << kProgramBits) - 1)) | 1},
          static_cast<uint16_t>(random >> kProgramBits)};
}

}  // namespace

bool has_other_filters() {
  static const bool has_them = is_filtered(getpid());
  return has_them;
}

ProbeResult probe_agent() {
  ProbeResult result;
  result.name = "calls without a stop";
  result.works = !has_other_filters() || may_add_filters();
  result.detail = !result.works ? "the seccomp filter that rchk runs under allows no others"
                  : has_other_filters()
                      ? "under a seccomp filter: where most of a program's calls read the clock, "
                        "files or sockets"
                      : "for programs that read the clock, files or sockets very often";
  result.lost = "each call that reads the clock takes 20 us instead of 1";
  result.remedy = "in Docker --security-opt seccomp=unconfined";
  return result;
}

// Behind the event of a call that has ended.
Result<void> Recorder::Impl::consider_agent(const PendingCall& call, int64_t result) {
  if (!options_.agent_after || call.answer) return {};
  Space& space = *task_->space;
  AgentUse& use = space.agent_use;
  const Confinement& confinement = space.confinement;
  const int32_t number = call.entry.call.number;
  ++use.calls;
  RCHK_TRY(end_agent_that_costs());
  if (reads_clock(number) && confinement.vdso.contains(call.before.pc())) ++use.clock_calls;
  if (!use.clock_tried && use.clock_calls >= *options_.agent_after && can_have_agent() &&
      agent_pays(use)) {
    use.clock_tried = true;
    if (clock_code_bytes() <= confinement.calls.room_bytes) RCHK_TRY(begin_clock_agent());
  }
  if (number == SYS_epoll_ctl && result == 0) return consider_epoll_target(call.entry.call);
  return is_file_call(number) ? consider_file_call(call, result) : Result<void>();
}

// A filter is given to all threads of a process, and to no other process.
bool Recorder::Impl::can_have_agent() const {
  constexpr int kMostBeginnings = 5;
  const AgentUse& use = task_->space->agent_use;
  if (use.barred || use.begun == kMostBeginnings) return false;
  return std::all_of(tasks_.begin(), tasks_.end(), [this](const auto& item) {
    return item.second->space != task_->space || item.second->process == task_->process;
  });
}

// Those of the recording. False where no agent can be had.
bool Recorder::Impl::has_cookies() {
  if (agent_cookies_.first != 0) return true;
  if (has_other_filters() && !may_add_filters()) return false;
  uint64_t random[3];
  if (getrandom(random, sizeof(random), 0) != sizeof(random)) return false;
  agent_cookies_ = {random[0] | 1, random[1]};
  if (has_other_filters()) stops_by_signal_ = random_stops(random[2]);
  return true;
}

// A ring, and the filter. False where they cannot be had.
Result<bool> Recorder::Impl::begin_agent(trace::MemoryEvent& event) {
  Space& space = *task_->space;
  if (has_limited_memory(task_->process->pid)) return false;
  if (space.agent) return true;
  if (!has_cookies()) return false;
  if (!task_->process->filtered) {
    RCHK_TRY_ASSIGN(const int64_t result,
                    install_filter(agent_filter(agent_cookies_, stops_by_signal_)));
    if (result != 0) return false;
    task_->process->filtered = true;
    for (const auto& [tid, task] : tasks_) {
      const bool has_filter = stops_by_signal_ && task->process == task_->process;
      if (has_filter) task->tracee.pass_filters_from(stops_by_signal_->shown_pc);
    }
  }
  const auto place = space.place_for(Agent::ring_bytes());
  if (!place) return false;
  RCHK_TRY_ASSIGN(const bool mapped, map_for_guest(range_of(*place, Agent::ring_bytes()),
                                                   PROT_READ | PROT_WRITE, event));
  if (!mapped) return false;
  Agent agent;
  agent.ring = *place;
  agent.cookies = agent_cookies_;
  agent.bases = may_read_bases();
  space.agent = std::move(agent);
  ++space.agent_use.begun;
  return true;
}

// Memory that is the guest's from now on. False if there is none to be had.
Result<bool> Recorder::Impl::map_for_guest(AddressRange range, int protection,
                                           trace::MemoryEvent& event) {
  constexpr uint64_t kNoFile = ~0ull;
  Space& space = *task_->space;
  const syscalls::Call map{SYS_mmap,
                           {range.begin.value, range.size(), static_cast<uint64_t>(protection),
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, kNoFile, 0}};
  RCHK_TRY_ASSIGN(const int64_t mapped, task_->tracee.remote_syscall(space.confinement.gadget,
                                                                     map.number, map.arguments));
  if (mapped < 0) return false;
  auto effects = syscalls::address_space_effects(map, mapped, space.brk);
  effects.reread_protection = task_->read_implies_exec;
  RCHK_TRY_ASSIGN(
      AddressChanges changes,
      recorded_changes(effects, task_->tracee, files_, space.memory, space.scratch.all(),
                       [this](std::string_view text) { say(text); }));
  std::move(changes.changes.begin(), changes.changes.end(), std::back_inserter(event.changes));
  std::move(changes.writes.begin(), changes.writes.end(), std::back_inserter(event.writes));
  return true;
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

// A small read or write, or a wait for events.
Result<void> Recorder::Impl::consider_file_call(const PendingCall& call, int64_t result) {
  Space& space = *task_->space;
  AgentUse& use = space.agent_use;
  const syscalls::Call& made = call.entry.call;
  const uint64_t asked = made.arguments[2];
  const uint64_t most = made.number == SYS_epoll_wait ? static_cast<uint32_t>(asked) : asked;
  if (result < 0 || most > Agent::most_asked_for(made.number)) return {};
  if (space.agent) {
    const auto known = space.agent->functions.find(made.number);
    if (known != space.agent->functions.end()) {
      const bool by_it = known->second.calls_at(call.before.pc());
      return by_it ? consider_descriptor(static_cast<int32_t>(made.arguments[0])) : Result<void>();
    }
  }
  constexpr size_t kMostPlaces = 16;
  if (++use.file_calls < *options_.agent_after || use.places_tried.size() == kMostPlaces) return {};
  if (!can_have_agent() || !agent_pays(use)) return {};
  if (!use.places_tried.insert(call.before.pc()).second) return {};
  return begin_file_agent(made.number, call.before.pc());
}

Result<void> Recorder::Impl::begin_file_agent(int32_t number, GuestAddress call) {
  Space& space = *task_->space;
  const auto function = FileFunction::find(number, call, [this](GuestAddress from, uint64_t bytes) {
    Bytes code(bytes);
    code.resize(task_->tracee.read_memory(from, code));
    return code;
  });
  if (!function) return {};
  const trace::Mapping* const mapping = space.memory.find(function->head);
  if (mapping == nullptr || mapping->shared) return {};
  trace::MemoryEvent event;
  RCHK_TRY_ASSIGN(const bool begun, begin_agent(event));
  if (!begun) return add_agent_event(std::move(event));
  Agent& agent = *space.agent;
  if (agent.data.value == 0) {
    RCHK_TRY(begin_file_memory(function->head, event));
  }
  if (agent.data.value != 0) {
    const uint64_t room = kPageSize / Agent::most_functions();
    const GuestAddress at = agent.file_code + agent.functions.size() * room;
    for (trace::MemoryWrite& write : file_code(agent, at, *function)) {
      event.writes.push_back(std::move(write));
    }
  }
  return add_agent_event(std::move(event));
}

// Memory for what calls have read, and for code in front of functions around `code`.
Result<void> Recorder::Impl::begin_file_memory(GuestAddress code, trace::MemoryEvent& event) {
  Space& space = *task_->space;
  const auto code_place = place_within_reach(space.memory, code, kPageSize, space.brk);
  const auto data_place = space.place_for(Agent::data_bytes());
  if (!code_place || !data_place) return {};
  RCHK_TRY_ASSIGN(const bool has_code,
                  map_for_guest(range_of(*code_place, kPageSize), PROT_READ | PROT_EXEC, event));
  if (!has_code) return {};
  RCHK_TRY_ASSIGN(const bool has_data, map_for_guest(range_of(*data_place, Agent::data_bytes()),
                                                     PROT_READ | PROT_WRITE, event));
  if (!has_data) return {};
  space.agent->file_code = *code_place;
  space.agent->place_data(*data_place);
  event.writes.push_back(first_cursor(*space.agent));
  return {};
}

}  // namespace rchk::record
