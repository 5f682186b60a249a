// The system calls of a diversion.

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <string>

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "gdbserver/target/diversion.h"

namespace rchk::target {

namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr uint64_t kSyscallBytes = 2;

template <typename Value>
ByteView view_of(const Value& value) {
  return {reinterpret_cast<const uint8_t*>(&value), sizeof(value)};
}

}  // namespace

Result<std::optional<Diversion::Outcome>> Diversion::system_call(const Command& command) {
  Registers& registers = guest_.registers;
  std::optional<Outcome> end;
  RCHK_TRY_ASSIGN(const int64_t result, answer(command, end));
  if (end && end->end == End::kExit) return end;
  registers.rcx = registers.rip + kSyscallBytes;
  registers.r11 = registers.rflags;
  registers.rax = static_cast<uint64_t>(result);
  registers.rip += kSyscallBytes;
  return end;
}

Result<int64_t> Diversion::answer(const Command& command, std::optional<Outcome>& end) {
  const Registers& registers = guest_.registers;
  switch (static_cast<int64_t>(registers.rax)) {
    case SYS_exit:
    case SYS_exit_group:
      end = Outcome{End::kExit, {}, 0, static_cast<int>(registers.rdi & 0xff)};
      return 0;
    case SYS_write:
      return write(command);
    case SYS_mmap:
      return map();
    case SYS_munmap: {
      const AddressRange range = range_of({registers.rdi}, registers.rsi).pages();
      replayer_.engine().invalidate(range);
      RCHK_TRY(guest_.puppet->unmap_guest(range));
      return 0;
    }
    case SYS_mprotect:
      return protect();
    case SYS_brk:
      return 0;  // no change: malloc falls back on mmap
    case SYS_futex:
      return wait_or_wake(command, end);
    case SYS_getpid:
      return guest_.pid;
    case SYS_gettid:
      return guest_.tid.value;
    case SYS_kill:
      if (static_cast<int64_t>(registers.rdi) != guest_.pid) return -EPERM;
      return raise(static_cast<int>(registers.rsi), end);
    case SYS_tkill:
      if (static_cast<int64_t>(registers.rdi) != guest_.tid.value) return -EPERM;
      return raise(static_cast<int>(registers.rsi), end);
    case SYS_tgkill:
      if (static_cast<int64_t>(registers.rsi) != guest_.tid.value) return -EPERM;
      return raise(static_cast<int>(registers.rdx), end);
    case SYS_clock_gettime:
      return tell_time(registers.rdi, {registers.rsi}, kNsPerSecond);
    case SYS_gettimeofday:
      return tell_time(CLOCK_REALTIME, {registers.rdi}, 1'000'000);
    case SYS_time: {
      const int64_t now = unix_ns_ / kNsPerSecond;
      const int64_t stored = store({registers.rdi}, view_of(now));
      return stored < 0 ? stored : now;
    }
    case SYS_rt_sigprocmask:
      return store({registers.rdx}, view_of(uint64_t{0}));
    case SYS_rt_sigaction:  // what is raised stops it
      return store({registers.rdx}, std::array<uint8_t, 32>{});
    case SYS_sched_yield:
    case SYS_madvise:
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
      return 0;
    default:
      return -ENOSYS;
  }
}

int64_t Diversion::store(GuestAddress at, ByteView bytes) {
  if (at.value == 0) return 0;
  return guest_.puppet->write_memory(at, bytes) ? 0 : -EFAULT;
}

int64_t Diversion::write(const Command& command) {
  constexpr uint64_t kMostOutput = 1 << 20;
  const Registers& registers = guest_.registers;
  if (registers.rdi != 1 && registers.rdi != 2) return -ENOSYS;
  std::string text(std::min(registers.rdx, kMostOutput), '\0');
  text.resize(guest_.puppet->read_memory({registers.rsi},
                                         {reinterpret_cast<uint8_t*>(text.data()), text.size()}));
  if (command.console) command.console(text);
  return static_cast<int64_t>(text.size());
}

Result<int64_t> Diversion::map() {
  const Registers& registers = guest_.registers;
  if ((registers.r10 & MAP_ANONYMOUS) == 0 || (registers.r10 & MAP_FIXED) != 0) return -ENOSYS;
  const uint64_t size = GuestAddress{registers.rsi}.page_ceiling().value;
  const auto place =
      guest_.puppet->free_range_near(range_of(registers.pc().page_floor(), kPageSize), size);
  if (!place) return -ENOMEM;
  snapshot::Mapping mapping;
  mapping.range = range_of(*place, size);
  mapping.protection = static_cast<uint8_t>(registers.rdx & 7);
  RCHK_TRY(guest_.puppet->map(mapping, {}));
  return static_cast<int64_t>(place->value);
}

Result<int64_t> Diversion::protect() {
  const Registers& registers = guest_.registers;
  const AddressRange range = range_of({registers.rdi}, registers.rsi).pages();
  uint64_t mapped = 0;
  for (const snapshot::Mapping& part : guest_.puppet->space().overlapping(range)) {
    mapped += part.range.size();
  }
  if (mapped < range.size()) return -ENOMEM;
  replayer_.engine().invalidate(range);
  RCHK_TRY(guest_.puppet->protect(range, static_cast<uint8_t>(registers.rdx & 7)));
  return 0;
}

// Nobody waits who could be woken, and nobody else runs who could wake it.
int64_t Diversion::wait_or_wake(const Command& command, std::optional<Outcome>& end) {
  const Registers& registers = guest_.registers;
  const auto operation = static_cast<int>(registers.rsi) & FUTEX_CMD_MASK;
  if (operation != FUTEX_WAIT && operation != FUTEX_WAIT_BITSET) return 0;
  uint32_t now = 0;
  std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(&now), sizeof(now));
  if (guest_.puppet->read_memory({registers.rdi}, bytes) != sizeof(now)) return -EFAULT;
  if (now != static_cast<uint32_t>(registers.rdx)) return -EAGAIN;
  if (registers.r10 != 0) return -ETIMEDOUT;
  if (command.console) {
    command.console("rchk: it waits for another thread, and this is a copy in which none runs\n");
  }
  end = Outcome{End::kInterrupted, {}, 0, 0};
  return -EINTR;
}

int64_t Diversion::raise(int signal, std::optional<Outcome>& end) {
  if (signal < 0 || signal > 64) return -EINVAL;
  if (signal != 0) end = Outcome{End::kSignal, {}, signal, 0};
  return 0;
}

// As struct timespec or struct timeval.
int64_t Diversion::tell_time(uint64_t clock, GuestAddress at, int64_t units_per_second) {
  const bool is_of_day = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
  const int64_t now_ns = is_of_day ? unix_ns_ : monotonic_ns_;
  const std::array<int64_t, 2> time{now_ns / kNsPerSecond,
                                    now_ns % kNsPerSecond / (kNsPerSecond / units_per_second)};
  return store(at, view_of(time));
}

}  // namespace rchk::target
