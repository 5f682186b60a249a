#include "tests/translate/puppet.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <elf.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"

namespace rchk::translate::testing {

namespace {

constexpr uint64_t kGate = 0x6f0000000000ull;
constexpr uint8_t kGateCode[] = {0x0f, 0x05, 0x0f, 0x0b};

static_assert(sizeof(Registers) == sizeof(user_regs_struct));

}  // namespace

void pin_to_one_core() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(sched_getcpu(), &cores);
  sched_setaffinity(0, sizeof(cores), &cores);
}

Puppet::Puppet(pid_t pid) : pid_(pid) { prepare(); }

Puppet::Puppet(Puppet&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      memory_(std::exchange(other.memory_, -1)),
      gate_(other.gate_),
      maps_(std::move(other.maps_)),
      versions_(std::move(other.versions_)),
      state_(std::move(other.state_)) {}

Puppet::~Puppet() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    int status = 0;
    waitpid(pid_, &status, __WALL);
  }
  if (memory_ >= 0) close(memory_);
}

Puppet Puppet::forked() {
  const pid_t pid = fork();
  RCHK_CHECK(pid >= 0);
  if (pid == 0) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    _exit(1);
  }
  return Puppet(pid);
}

Puppet Puppet::executing(const std::vector<std::string>& arguments, const std::string& stdout_to) {
  const pid_t pid = fork();
  RCHK_CHECK(pid >= 0);
  if (pid == 0) {
    personality(ADDR_NO_RANDOMIZE);
    if (!stdout_to.empty()) {
      const int out = open(stdout_to.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
      dup2(out, 1);
      close(out);
    }
    std::vector<char*> argv;
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    execvp(argv[0], argv.data());
    perror(argv[0]);
    _exit(1);
  }
  return Puppet(pid);
}

void Puppet::prepare() {
  int status = 0;
  RCHK_CHECK(waitpid(pid_, &status, __WALL) == pid_ && WIFSTOPPED(status));
  ptrace(PTRACE_SETOPTIONS, pid_, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  memory_ = open(("/proc/" + std::to_string(pid_) + "/mem").c_str(), O_RDWR | O_CLOEXEC);
  RCHK_CHECK(memory_ >= 0);
  // Borrows the instruction at pc to map the gate.
  const Registers start = registers();
  const std::vector<uint8_t> there = read(start.pc(), sizeof(kGateCode));
  write(start.pc(), kGateCode);
  gate_ = start.pc();
  const long mapped = system_call(SYS_mmap, {kGate, kPageSize, PROT_READ | PROT_EXEC,
                                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, ~0ull, 0});
  RCHK_CHECK(mapped == static_cast<long>(kGate), "mmap gave {:#x}", mapped);
  write(start.pc(), there);
  gate_ = {kGate};
  write(gate_, kGateCode);
  set_registers(start);
}

Registers Puppet::registers() const {
  Registers result;
  RCHK_CHECK(ptrace(PTRACE_GETREGS, pid_, 0, &result) == 0);
  return result;
}

void Puppet::set_registers(const Registers& registers) {
  RCHK_CHECK(ptrace(PTRACE_SETREGS, pid_, 0, &registers) == 0, "errno {}", errno);
}

ExtendedState Puppet::extended_state() const {
  ExtendedState state(16384);
  iovec area{state.data(), state.size()};
  RCHK_CHECK(ptrace(PTRACE_GETREGSET, pid_, NT_X86_XSTATE, &area) == 0);
  state.resize(area.iov_len);
  if (state_.x87_pointer.value != 0) rchk::set_x87_pointer(state, state_.x87_pointer);
  return state;
}

Result<void> Puppet::set_x87_pointer(GuestAddress pointer) {
  ExtendedState state = extended_state();
  rchk::set_x87_pointer(state, pointer);
  set_extended_state(state);
  return {};
}

void Puppet::set_extended_state(const ExtendedState& state) {
  state_.x87_pointer = {};
  iovec area{const_cast<uint8_t*>(state.data()), state.size()};
  RCHK_CHECK(ptrace(PTRACE_SETREGSET, pid_, NT_X86_XSTATE, &area) == 0);
}

HostStop Puppet::wait_for_stop() {
  int status = 0;
  HostStop stop;
  RCHK_CHECK(waitpid(pid_, &status, __WALL) == pid_);
  RCHK_CHECK(WIFSTOPPED(status), "puppet ended with status {:#x}", status);
  ptrace(PTRACE_GETREGS, pid_, 0, &stop.registers);
  if (WSTOPSIG(status) == (SIGTRAP | 0x80)) return stop;
  stop.signal = WSTOPSIG(status);
  siginfo_t info;
  ptrace(PTRACE_GETSIGINFO, pid_, 0, &info);
  stop.signal_code = info.si_code;
  stop.fault_address = {reinterpret_cast<uint64_t>(info.si_addr)};
  return stop;
}

HostStop Puppet::single_step(const Registers& registers) {
  set_registers(registers);
  RCHK_CHECK(ptrace(PTRACE_SINGLESTEP, pid_, 0, 0) == 0);
  HostStop stop = wait_for_stop();
  if (stop.signal == SIGTRAP && stop.signal_code == TRAP_TRACE) stop.signal = 0;
  return stop;
}

long Puppet::system_call(long number, const std::vector<uint64_t>& arguments) {
  const Registers before = registers();
  Registers call = before;
  call.rip = gate_.value;
  call.rax = static_cast<uint64_t>(number);
  call.orig_rax = ~0ull;
  uint64_t Registers::*const order[] = {&Registers::rdi, &Registers::rsi, &Registers::rdx,
                                        &Registers::r10, &Registers::r8,  &Registers::r9};
  for (size_t i = 0; i < arguments.size(); ++i) call.*order[i] = arguments[i];
  HostStop stop = single_step(call);
  // Out of a stop of PTRACE_SYSEMU the first step ends before it executes anything.
  if (stop.registers.rip == gate_.value) stop = single_step(call);
  // The step over a system call is reported as TRAP_BRKPT.
  RCHK_CHECK(stop.signal == 0 || stop.signal == SIGTRAP, "signal {} in a system call", stop.signal);
  Registers restored = before;
  restored.orig_rax = ~0ull;
  set_registers(restored);
  return static_cast<long>(stop.registers.rax);
}

void Puppet::map(AddressRange range, int protection) {
  const long got =
      system_call(SYS_mmap, {range.begin.value, range.size(), static_cast<uint64_t>(protection),
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, ~0ull, 0});
  RCHK_CHECK(got == static_cast<long>(range.begin.value), "mmap gave {:#x}", got);
  mappings_changed();
}

void Puppet::write(GuestAddress address, std::span<const uint8_t> bytes) {
  const ssize_t done =
      pwrite(memory_, bytes.data(), bytes.size(), static_cast<off_t>(address.value));
  RCHK_CHECK(done == static_cast<ssize_t>(bytes.size()), "writing {} bytes at {}", bytes.size(),
             address);
}

std::vector<uint8_t> Puppet::read(GuestAddress address, size_t count) {
  std::vector<uint8_t> bytes(count);
  RCHK_CHECK(read_memory(address, bytes) == count, "reading {} bytes at {}", count, address);
  return bytes;
}

void Puppet::set_version(AddressRange range, uint64_t version) {
  for (GuestAddress page = range.begin; page < range.end; page = page + kPageSize) {
    versions_[page.value] = version;
  }
}

Puppet Puppet::clone() {
  const Registers before = registers();
  Registers call = before;
  call.rip = gate_.value;
  call.rax = SYS_clone;
  call.orig_rax = ~0ull;
  call.rdi = CLONE_PTRACE;  // its end raises no signal in the parent
  call.rsi = call.rdx = call.r10 = call.r8 = 0;
  HostStop stop = single_step(call);
  if (stop.registers.rip == gate_.value) stop = single_step(call);
  const auto child = static_cast<pid_t>(stop.registers.rax);
  RCHK_CHECK(child > 0, "clone gave {}", child);
  Registers restored = before;
  restored.orig_rax = ~0ull;
  set_registers(restored);
  Puppet copy(child);
  copy.set_registers(restored);
  copy.set_extended_state(extended_state());
  copy.state_ = state_;
  copy.versions_ = versions_;
  return copy;
}

Result<HostStop> Puppet::resume(const Registers& registers) {
  ++resumes;
  if (ptrace(PTRACE_SETREGS, pid_, 0, &registers) != 0) return fail_errno("setting registers");
  if (ptrace(PTRACE_SYSEMU, pid_, 0, 0) != 0) return fail_errno("resuming");
  return wait_for_stop();
}

size_t Puppet::read_memory(GuestAddress address, std::span<uint8_t> bytes) {
  const ssize_t got = pread(memory_, bytes.data(), bytes.size(), static_cast<off_t>(address.value));
  return got < 0 ? 0 : static_cast<size_t>(got);
}

const std::vector<Puppet::Area>& Puppet::maps() {
  if (!maps_.empty()) return maps_;
  FILE* file = fopen(("/proc/" + std::to_string(pid_) + "/maps").c_str(), "r");
  RCHK_CHECK(file != nullptr);
  char line[4096];
  while (fgets(line, sizeof(line), file) != nullptr) {
    unsigned long begin = 0, end = 0;
    char access[8] = {};
    if (sscanf(line, "%lx-%lx %7s", &begin, &end, access) != 3) continue;
    const int protection = (access[0] == 'r' ? PROT_READ : 0) |
                           (access[1] == 'w' ? PROT_WRITE : 0) | (access[2] == 'x' ? PROT_EXEC : 0);
    maps_.push_back({{{begin}, {end}}, protection});
  }
  fclose(file);
  return maps_;
}

CodePage Puppet::code_page(GuestAddress page) {
  CodePage result;
  for (const Area& area : maps()) {
    if (!area.range.contains(page)) continue;
    result.executable = (area.protection & PROT_EXEC) != 0;
    result.writable = (area.protection & PROT_WRITE) != 0 || state_.protected_pages.contains(page);
  }
  const auto version = versions_.find(page.value);
  result.version = version == versions_.end() ? 0 : version->second;
  return result;
}

Result<void> Puppet::protect_code_page(GuestAddress page, bool read_only) {
  const uint64_t protection = PROT_READ | PROT_EXEC | (read_only ? 0 : PROT_WRITE);
  const long got = system_call(SYS_mprotect, {page.value, kPageSize, protection});
  mappings_changed();
  if (got != 0) return fail_errno("mprotect", static_cast<int>(-got));
  return {};
}

Result<void> Puppet::map_shared(GuestAddress address, uint64_t size_bytes, int memfd,
                                uint64_t offset_bytes, int protection) {
  char path[64];
  snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), memfd);
  const uint64_t scratch = kGate + 64;
  const std::vector<uint8_t> text(path, path + strlen(path) + 1);
  write({scratch}, text);
  const long fd = system_call(SYS_open, {scratch, O_RDWR});
  RCHK_CHECK(fd >= 0, "open gave {}", fd);
  const long got = system_call(
      SYS_mmap, {address.value, size_bytes, static_cast<uint64_t>(protection),
                 MAP_SHARED | MAP_FIXED_NOREPLACE, static_cast<uint64_t>(fd), offset_bytes});
  system_call(SYS_close, {static_cast<uint64_t>(fd)});
  mappings_changed();
  if (got != static_cast<long>(address.value))
    return fail_errno(fmt::format("mapping {} bytes at {}", size_bytes, address),
                      static_cast<int>(-got));
  return {};
}

Result<void> Puppet::unmap(AddressRange range) {
  system_call(SYS_munmap, {range.begin.value, range.size()});
  mappings_changed();
  return {};
}

std::optional<GuestAddress> Puppet::free_range_near(AddressRange code, uint64_t size_bytes) {
  constexpr uint64_t kReach = 2ull << 30;
  constexpr uint64_t kUserEnd = 0x7ffffffff000ull;
  const bool near_code = code.begin.value > kUserEnd / 2;
  if (caches_are_far && near_code) return std::nullopt;
  if (low_memory_is_full && code.begin.value < kReach) return std::nullopt;
  mappings_changed();
  uint64_t best = 0, best_distance = ~0ull;
  uint64_t gap_begin = 0x20000;
  auto consider = [&](uint64_t begin, uint64_t end) {
    if (code.end.value > kReach) begin = std::max(begin, code.end.value - kReach);
    end = std::min(end, code.begin.value + kReach);
    if (end < begin + size_bytes) return;
    for (const uint64_t candidate : {begin, end - size_bytes}) {
      const uint64_t low = std::min(candidate, code.begin.value);
      const uint64_t high = std::max(candidate + size_bytes, code.end.value);
      if (high - low > kReach || high - low >= best_distance) continue;
      best_distance = high - low;
      best = candidate;
    }
  };
  for (const Area& area : maps()) {
    if (area.range.begin.value >= kUserEnd) break;  // vsyscall
    if (area.range.begin.value > gap_begin) consider(gap_begin, area.range.begin.value);
    gap_begin = std::max(gap_begin, area.range.end.value);
  }
  consider(gap_begin, kUserEnd);
  if (best == 0) return std::nullopt;
  return GuestAddress{best};
}

}  // namespace rchk::translate::testing
