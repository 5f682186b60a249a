// Runs a single-threaded program translated, its system calls carried out for real, and prints
// its CPU time against that of a native run.
//
// usage: speed PROGRAM [ARGUMENT...]     (output of the program goes to /dev/null or $SPEED_OUT)
//        LOCKSTEP=1 speed PROGRAM ...     compares it with single steps instead; 25 us each
//        SPEED_DUMP=FILE speed PROGRAM ... writes the emitted code at the end, to be looked at with
//                                          objdump -D -b binary -mi386:x86-64 --adjust-vma=ADDRESS

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <asm/prctl.h>
#include <cpuid.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include "base/check.h"
#include "engine/translate/engine.h"
#include "tests/translate/puppet.h"

namespace rchk::translate::testing {

namespace {

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}
double system_of(int who) {
  rusage usage;
  getrusage(who, &usage);
  return seconds(usage.ru_stime);
}
double cpu_of(int who) {
  rusage usage;
  getrusage(who, &usage);
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double native_seconds(const std::vector<std::string>& arguments) {
  const double before = cpu_of(RUSAGE_CHILDREN);
  const pid_t pid = fork();
  if (pid == 0) {
    std::vector<char*> argv;
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    if (freopen("/dev/null", "w", stdout) == nullptr) _exit(1);
    execvp(argv[0], argv.data());
    _exit(1);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return cpu_of(RUSAGE_CHILDREN) - before;
}

void emulate_trapped(Puppet& puppet, Registers& guest) {
  const auto code = puppet.read(guest.pc(), 3);
  if (code[1] == 0xa2) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    __cpuid_count(static_cast<unsigned>(guest.rax), static_cast<unsigned>(guest.rcx), a, b, c, d);
    guest.rax = a;
    guest.rbx = b;
    guest.rcx = c;
    guest.rdx = d;
    guest.rip += 2;
    return;
  }
  const bool reads_time = code[1] == 0x31 || (code[1] == 0x01 && code[2] == 0xf9);
  if (!reads_time) {  // XSAVEC
    const uint64_t pc = guest.rip;
    // Out of a stop of PTRACE_SYSEMU the first step may end before it executes anything.
    while (guest.rip == pc) guest = puppet.single_step(guest).registers;
    guest.rflags &= ~0x100ull;
    return;
  }
  const uint64_t now = __rdtsc();
  guest.rax = now & 0xffffffff;
  guest.rdx = now >> 32;
  guest.rip += code[1] == 0x31 ? 2 : 3;
}

// Carries out the system call at pc. False when it ends the program.
bool emulate_call(Puppet& puppet, Engine& engine, Registers& guest) {
  const long number = static_cast<long>(guest.rax);
  if (number == SYS_exit_group || number == SYS_exit) return false;
  puppet.set_registers([&] {
    Registers now = guest;
    now.orig_rax = ~0ull;
    return now;
  }());
  const long result =
      puppet.system_call(number, {guest.rdi, guest.rsi, guest.rdx, guest.r10, guest.r8, guest.r9});
  if (number == SYS_mmap || number == SYS_munmap || number == SYS_mprotect || number == SYS_brk ||
      number == SYS_mremap) {
    puppet.mappings_changed();
    if (number == SYS_mmap)
      engine.invalidate(range_of({static_cast<uint64_t>(result)}, guest.rsi));
    else if (number != SYS_brk)
      engine.invalidate(range_of({guest.rdi}, guest.rsi));
  }
  if (number == SYS_arch_prctl) {
    if (guest.rdi == ARCH_SET_FS) guest.fs_base = guest.rsi;
    if (guest.rdi == ARCH_SET_GS) guest.gs_base = guest.rsi;
  }
  guest.rax = static_cast<uint64_t>(result);
  guest.rip += 2;
  guest.rcx = guest.rip;
  guest.r11 = guest.rflags;
  return true;
}

// Writes what the cache holds of emitted code, one file for each arena: `path`.ADDRESS.
void dump_code(Puppet& puppet, const std::string& path) {
  FILE* maps = fopen(("/proc/" + std::to_string(puppet.pid()) + "/maps").c_str(), "r");
  RCHK_CHECK(maps != nullptr);
  char line[4096];
  while (fgets(line, sizeof(line), maps) != nullptr) {
    unsigned long begin = 0, end = 0;
    char access[8] = {};
    const bool is_code = strstr(line, "rchk-code-cache") != nullptr &&
                         sscanf(line, "%lx-%lx %7s", &begin, &end, access) == 3 && access[2] == 'x';
    if (!is_code) continue;
    std::vector<uint8_t> code = puppet.read({begin}, (end - begin) / 2);  // without the stubs
    while (!code.empty() && code.back() == 0) code.pop_back();
    char name[512];
    snprintf(name, sizeof(name), "%s.%lx", path.c_str(), begin);
    FILE* out = fopen(name, "w");
    RCHK_CHECK(out != nullptr, "cannot write {}", name);
    fwrite(code.data(), 1, code.size(), out);
    fclose(out);
  }
  fclose(maps);
}

}  // namespace

namespace {

// The same program natively, one step at a time, next to the translated one: after every stretch
// of random length both are at the same place. Values that the kernel makes random may differ.
int lockstep(const std::vector<std::string>& arguments) {
  Puppet translated = Puppet::executing(arguments, "/dev/null");
  Puppet native = Puppet::executing(arguments, "/dev/null");
  auto made = Engine::create();
  RCHK_CHECK(made.has_value());
  Engine& engine = **made;
  RCHK_CHECK(engine.attach(translated).has_value());
  Registers guest = translated.registers(), truth = native.registers();
  uint64_t retired = 0, seed = 1;
  for (bool running = true; running;) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    const auto stop = engine.run(guest, {1 + (seed >> 33) % 3000, false});
    RCHK_CHECK(stop.has_value(), "{}", stop.error().message());
    retired += stop->retired;
    for (uint64_t step = 0; step < stop->retired;) {
      const GuestAddress pc = truth.pc();
      const HostStop stepped = native.single_step(truth);
      RCHK_CHECK(stepped.signal == 0, "signal {} at {}", stepped.signal, pc);
      truth = stepped.registers;
      truth.rflags &= ~0x100ull;
      if (truth.pc() != pc || !engine.is_rep_string(pc)) ++step;
    }
    if (truth.rip != guest.rip || truth.rsp != guest.rsp ||
        (truth.rflags & kGuestFlags) != (guest.rflags & kGuestFlags)) {
      std::printf("differ after %lu\n%s\n", retired, describe_difference(truth, guest).c_str());
      return 1;
    }
    if (stop->reason == StopReason::kSyscall) {
      running = emulate_call(translated, engine, guest);
      if (running) emulate_call(native, engine, truth);
    } else if (stop->reason == StopReason::kTrapped) {
      emulate_trapped(translated, guest);
      emulate_trapped(native, truth);
      truth.rax = guest.rax;  // the time
      truth.rdx = guest.rdx;
    } else {
      RCHK_CHECK(stop->reason == StopReason::kInstructionLimit,
                 "stop {} signal {} at {} after {}, fault at {}\n{}\n{}",
                 static_cast<int>(stop->reason), stop->signal, guest.pc(), retired,
                 stop->fault_address, describe(guest), describe_difference(truth, guest));
    }
  }
  std::printf("%s: %lu instructions in step\n", arguments[0].c_str(), retired);
  return 0;
}

}  // namespace

int speed_main(int argc, char** argv) {
  if (argc < 2) return 2;
  pin_to_one_core();
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  Puppet::caches_are_far = std::getenv("FAR") != nullptr;
  Puppet::low_memory_is_full = std::getenv("BESIDE") != nullptr;
  if (std::getenv("LOCKSTEP") != nullptr) return lockstep(arguments);
  const double native = std::getenv("SPEED_NO_NATIVE") ? 1 : native_seconds(arguments);
  const double before = cpu_of(RUSAGE_CHILDREN), own_before = cpu_of(RUSAGE_SELF);
  const double system_before = system_of(RUSAGE_CHILDREN);
  uint64_t retired = 0, calls = 0, resumes = 0;
  auto made = Engine::create();
  RCHK_CHECK(made.has_value());
  Engine& engine = **made;
  {
    const char* out = std::getenv("SPEED_OUT");
    Puppet puppet = Puppet::executing(arguments, out != nullptr ? out : "/dev/null");
    const auto attached = engine.attach(puppet);
    RCHK_CHECK(attached.has_value(), "{}", attached.error().message());
    Registers guest = puppet.registers();
    const char* slice = std::getenv("SPEED_SLICE");
    const uint64_t limit = slice != nullptr ? std::strtoull(slice, nullptr, 0) : 1ull << 50;
    for (bool running = true; running;) {
      const auto stop = engine.run(guest, {limit, false});
      RCHK_CHECK(stop.has_value(), "{}", stop.error().message());
      retired += stop->retired;
      if (stop->reason == StopReason::kSyscall) {
        ++calls;
        running = emulate_call(puppet, engine, guest);
      } else if (stop->reason == StopReason::kTrapped) {
        emulate_trapped(puppet, guest);
      } else if (stop->reason != StopReason::kInstructionLimit) {
        std::printf("stop %d signal %d at %#lx after %lu: %s fault %#lx\n%s\n",
                    static_cast<int>(stop->reason), stop->signal, guest.rip, retired, stop->detail,
                    stop->fault_address.value, describe(guest).c_str());
        return 1;
      }
    }
    resumes = puppet.resumes;
    if (const char* dump = std::getenv("SPEED_DUMP")) dump_code(puppet, dump);
  }
  const double own = cpu_of(RUSAGE_SELF) - own_before;
  const double translated = cpu_of(RUSAGE_CHILDREN) - before;
  const double system = system_of(RUSAGE_CHILDREN) - system_before;
  const Statistics statistics = engine.statistics();
  std::printf(
      "%-28s native %.3f s  guest %.3f s (system %.3f s)  engine %.3f s  ratio %.2f (guest alone "
      "%.2f)  "
      "%.0f M instructions, %lu blocks, %lu misses, %lu stops, %lu calls, %lu KB cache, %lu "
      "inval\n",
      argv[1], native, translated, system, own, (translated + own) / native, translated / native,
      static_cast<double>(retired) * 1e-6, statistics.blocks, statistics.misses, resumes, calls,
      statistics.cache_bytes >> 10, statistics.invalidations);
  return 0;
}

}  // namespace rchk::translate::testing

int main(int argc, char** argv) { return rchk::translate::testing::speed_main(argc, argv); }
