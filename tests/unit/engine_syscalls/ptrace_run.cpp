#include "tests/unit/engine_syscalls/ptrace_run.h"

#include <algorithm>
#include <cstring>
#include <fstream>

#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/registers.h"
#include "engine/syscalls/address_space.h"
#include "engine/syscalls/describe.h"
#include "engine/syscalls/outputs.h"

namespace rchk::syscalls::test {
namespace {

constexpr size_t kMaxFailures = 20;
constexpr uint64_t kMaxMappingBytes = 256u << 20;

struct MapsEntry {
  uint64_t end;
  uint8_t protection;
  bool operator==(const MapsEntry&) const = default;
};
using Maps = std::map<uint64_t, MapsEntry>;  // by start

// The kernel's own pages are left out, and the stack, which grows by itself, told apart.
Maps read_maps(pid_t pid, uint64_t& stack_start) {
  Maps maps;
  std::ifstream file(fmt::format("/proc/{}/maps", pid));
  for (std::string line; std::getline(file, line);) {
    uint64_t start = 0, end = 0;
    char rights[5] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &start, &end, rights) != 3) continue;
    if (line.find("[v") != std::string::npos) continue;
    const int protection =
        (rights[0] == 'r' ? 1 : 0) | (rights[1] == 'w' ? 2 : 0) | (rights[2] == 'x' ? 4 : 0);
    if (line.find("[stack]") != std::string::npos) stack_start = start;
    maps[start] = {end, static_cast<uint8_t>(protection)};
  }
  return maps;
}

// Puts a border at `address`.
void split(Maps& maps, uint64_t address) {
  auto next = maps.upper_bound(address);
  if (next == maps.begin()) return;
  auto entry = std::prev(next);
  if (entry->first >= address || entry->second.end <= address) return;
  maps[address] = entry->second;
  entry->second.end = address;
}

void erase(Maps& maps, AddressRange range) {
  split(maps, range.begin.value);
  split(maps, range.end.value);
  maps.erase(maps.lower_bound(range.begin.value), maps.lower_bound(range.end.value));
}

// Neighbours with equal rights become one, so that two lists compare equal.
Maps merged(const Maps& maps) {
  Maps out;
  for (const auto& [start, entry] : maps) {
    if (!out.empty()) {
      auto& [last_start, last] = *out.rbegin();
      (void)last_start;
      if (last.end == start && last.protection == entry.protection) {
        last.end = entry.end;
        continue;
      }
    }
    out[start] = entry;
  }
  return out;
}

void apply(Maps& maps, const AddressSpaceEffect& effect) {
  if (const auto* map = std::get_if<MapEffect>(&effect)) {
    erase(maps, map->range);
    maps[map->range.begin.value] = {map->range.end.value, map->protection};
  } else if (const auto* unmap = std::get_if<UnmapEffect>(&effect)) {
    erase(maps, unmap->range);
  } else if (const auto* protect = std::get_if<ProtectEffect>(&effect)) {
    split(maps, protect->range.begin.value);
    split(maps, protect->range.end.value);
    auto last = maps.lower_bound(protect->range.end.value);
    for (auto it = maps.lower_bound(protect->range.begin.value); it != last; ++it) {
      it->second.protection = protect->protection;
    }
  } else if (const auto* remap = std::get_if<RemapEffect>(&effect)) {
    split(maps, remap->from.begin.value);
    const uint8_t protection = maps[remap->from.begin.value].protection;
    if (!remap->keep_old) erase(maps, remap->from);
    erase(maps, remap->to);
    maps[remap->to.begin.value] = {remap->to.end.value, protection};
  }
}

class TraceeMemory : public MemoryReader {
 public:
  explicit TraceeMemory(pid_t pid) : pid_(pid) {}
  size_t read(GuestAddress address, std::span<uint8_t> out) const override {
    size_t done = 0;
    // Page by page where a piece fails, so that what comes before a hole is read.
    while (done < out.size()) {
      iovec local{&out[done], out.size() - done};
      iovec remote{reinterpret_cast<void*>(address.value + done), out.size() - done};
      const ssize_t count = process_vm_readv(pid_, &local, 1, &remote, 1, 0);
      if (count <= 0) break;
      done += static_cast<size_t>(count);
    }
    return done;
  }

 private:
  pid_t pid_;
};

class Checker {
 public:
  Checker(pid_t pid, BlindTo blind_to) : pid_(pid), memory_(pid), blind_to_(blind_to) {}

  void loop() {
    bool entering = true;
    int deliver = 0;
    for (;;) {
      ptrace(PTRACE_SYSCALL, pid_, 0, deliver);
      deliver = 0;
      int status = 0;
      if (waitpid(pid_, &status, 0) != pid_) return;
      if (WIFEXITED(status)) report_.exit_status = WEXITSTATUS(status);
      if (WIFEXITED(status) || WIFSIGNALED(status)) return;
      if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
        entering ? enter() : leave();
        entering = !entering;
      } else if (status >> 16 == PTRACE_EVENT_EXEC) {
        replaced_ = true;
      } else if (WSTOPSIG(status) != SIGTRAP) {
        deliver = WSTOPSIG(status);
      }
    }
  }

  RunReport take() { return std::move(report_); }

 private:
  Registers registers() {
    user_regs_struct raw;
    ptrace(PTRACE_GETREGS, pid_, 0, &raw);
    Registers out;
    static_assert(sizeof(out) == sizeof(raw));
    std::memcpy(&out, &raw, sizeof(raw));
    return out;
  }
  void set_registers(Registers registers) { ptrace(PTRACE_SETREGS, pid_, 0, &registers); }

  void enter() {
    Registers now = registers();
    const Call call = call_of(static_cast<int32_t>(now.orig_rax), now);
    entry_ = at_entry(call, memory_);
    refused_ = refusal(call);
    if (refused_) {
      now.orig_rax = static_cast<uint64_t>(-1);
      set_registers(now);
    }
    replaced_ = false;
    const Syscall* row = find(call.number);
    skip_ = row != nullptr && row->call_class == Class::kLife;
    if (skip_) return;
    maps_ = read_maps(pid_, stack_);
    contents_ = contents(maps_);
  }

  void leave() {
    Registers now = registers();
    if (refused_) {
      now.rax = static_cast<uint64_t>(-static_cast<int64_t>(*refused_));
      set_registers(now);
    }
    const auto result = static_cast<int64_t>(now.rax);
    ++report_.calls[entry_.call.number];
    if (!is_error(result)) ++report_.succeeded[entry_.call.number];
    if (replaced_) break_ = 0;
    if (replaced_ || skip_) return;
    what_ = describe_call(entry_.call, result, &memory_);
    check_mappings(result);
    check_contents(result);
  }

  void check_mappings(int64_t result) {
    GuestAddress previous{break_};
    if (entry_.call.number == nr::brk) {
      if (break_ == 0) previous = {static_cast<uint64_t>(result)};
      break_ = static_cast<uint64_t>(result);
    }
    effects_ = address_space_effects(entry_.call, result, previous);
    if (blind_to_ == entry_.call.number) effects_ = {};
    uint64_t stack = 0;
    const Maps found = read_maps(pid_, stack);
    Maps expected = maps_;
    for (const auto& effect : effects_.effects) apply(expected, effect);
    now_ = found;
    // The stack may have grown.
    if (stack != stack_ && expected.contains(stack_)) {
      expected[stack] = expected[stack_];
      expected.erase(stack_);
    }
    if (!effects_.reread_maps && merged(expected) != merged(found)) {
      fail(fmt::format("{}: mappings differ\n{}", what_,
                       difference(merged(expected), merged(found))));
    }
  }

  static std::string difference(const Maps& expected, const Maps& found) {
    std::string out;
    for (const auto& [start, entry] : expected) {
      const auto same = found.find(start);
      if (same != found.end() && same->second == entry) continue;
      out += fmt::format("  expected {:#x}-{:#x} {}\n", start, entry.end, entry.protection);
    }
    for (const auto& [start, entry] : found) {
      const auto same = expected.find(start);
      if (same != expected.end() && same->second == entry) continue;
      out += fmt::format("  found    {:#x}-{:#x} {}\n", start, entry.end, entry.protection);
    }
    return out;
  }

  void check_contents(int64_t result) {
    Outputs outputs = syscalls::outputs(entry_, result, memory_);
    if (blind_to_ == entry_.call.number) outputs.ranges.clear();
    if (!outputs.complete) report_.doubts.push_back(fmt::format("{}: {}", what_, outputs.doubt));
    std::vector<AddressRange> allowed = outputs.ranges;
    direct_ = direct_ || may_open_direct(entry_, memory_);
    if (direct_) {
      const auto& more = outputs.ranges_if_direct;
      allowed.insert(allowed.end(), more.begin(), more.end());
    }
    for (const AddressRange& range : outputs.ranges) count_named(range);
    for (const auto& effect : effects_.effects) {
      if (const auto* map = std::get_if<MapEffect>(&effect)) allowed.push_back(map->range);
      if (const auto* discard = std::get_if<DiscardEffect>(&effect)) {
        allowed.push_back(discard->range);
      }
      if (const auto* remap = std::get_if<RemapEffect>(&effect)) {
        allowed.push_back(remap->from);
        allowed.push_back(remap->to);
      }
    }
    // Only what is writable before and after: the rest appeared or went.
    for (const auto& [start, before] : contents_) {
      std::vector<uint8_t> after(before.size());
      after.resize(memory_.read({start}, after));
      if (after.size() == before.size() &&
          std::memcmp(after.data(), before.data(), after.size()) == 0) {
        continue;
      }
      compare(start, before, after, allowed);
    }
  }

  void compare(uint64_t start, const std::vector<uint8_t>& before,
               const std::vector<uint8_t>& after, const std::vector<AddressRange>& allowed) {
    const auto is_allowed = [&allowed](GuestAddress address) {
      return std::any_of(allowed.begin(), allowed.end(),
                         [address](const AddressRange& range) { return range.contains(address); });
    };
    uint64_t first = 0, missed = 0;
    for (size_t i = 0; i < after.size(); ++i) {
      if (before[i] == after[i]) continue;
      ++report_.changed_bytes;
      if (is_allowed({start + i})) continue;
      if (missed++ == 0) first = start + i;
    }
    if (missed != 0) {
      fail(fmt::format("{}: {} bytes changed unannounced, the first at {:#x}", what_, missed,
                       first));
    }
  }

  void count_named(AddressRange range) {
    for (const auto& [start, bytes] : contents_) {
      const uint64_t from = std::max(range.begin.value, start);
      const uint64_t to = std::min(range.end.value, start + bytes.size());
      if (from < to) report_.named_bytes += to - from;
    }
  }

  std::map<uint64_t, std::vector<uint8_t>> contents(const Maps& maps) {
    std::map<uint64_t, std::vector<uint8_t>> out;
    for (const auto& [start, entry] : maps) {
      if ((entry.protection & 3) != 3 || entry.end - start > kMaxMappingBytes) continue;
      auto& bytes = out[start];
      bytes.resize(entry.end - start);
      bytes.resize(memory_.read({start}, bytes));
    }
    return out;
  }

  void fail(std::string text) {
    if (report_.failures.size() < kMaxFailures) report_.failures.push_back(std::move(text));
  }

  pid_t pid_;
  TraceeMemory memory_;
  BlindTo blind_to_;
  RunReport report_;
  EntryState entry_;
  std::optional<int> refused_;
  bool skip_ = false;
  bool replaced_ = false;
  bool direct_ = false;
  uint64_t break_ = 0;
  uint64_t stack_ = 0;
  Maps maps_, now_;
  AddressSpaceEffects effects_;
  std::map<uint64_t, std::vector<uint8_t>> contents_;
  std::string what_;
};

}  // namespace

RunReport run_checked(const std::function<int()>& guest, BlindTo blind_to) {
  // A stop costs a fraction when both sides share a core.
  cpu_set_t all_cores, this_core;
  sched_getaffinity(0, sizeof(all_cores), &all_cores);
  CPU_ZERO(&this_core);
  CPU_SET(sched_getcpu(), &this_core);
  sched_setaffinity(0, sizeof(this_core), &this_core);
  const pid_t pid = fork();
  if (pid == 0) {
    // The kernel writes the rseq area at any reschedule: a recorded guest has none.
    if (__rseq_size != 0) {
      auto* area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
      syscall(SYS_rseq, area, 32, 1 /* RSEQ_FLAG_UNREGISTER */, 0x53053053);
    }
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    _exit(guest());
  }
  int status = 0;
  waitpid(pid, &status, 0);
  ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
  Checker checker(pid, blind_to);
  checker.loop();
  sched_setaffinity(0, sizeof(all_cores), &all_cores);
  return checker.take();
}

RunReport run_program_checked(const std::vector<std::string>& command) {
  return run_checked([&command] {
    std::vector<char*> arguments;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    if (freopen("/dev/null", "w", stdout) == nullptr) return 126;
    execvp(arguments[0], arguments.data());
    return 127;
  });
}

}  // namespace rchk::syscalls::test
