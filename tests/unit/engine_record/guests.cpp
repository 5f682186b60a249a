// Guests for the recorder's tests: this very program, started with RCHK_TEST_GUEST in its
// environment, does one small thing instead of running tests.

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include "tests/unit/engine_record/guests.h"

namespace rchk::record::test {

volatile uint64_t g_counter = 0;
volatile uint64_t g_watched = 0;
alignas(4096) char g_page[4096] = {};

extern "C" {
__attribute__((noinline)) void rchk_test_landmark() { asm volatile("" ::: "memory"); }
}

namespace {

void say(const char* text) {
  [[maybe_unused]] const auto written = write(1, text, std::strlen(text));
}

[[noreturn]] void done(const char* text, int status) {
  say(text);
  _exit(status);
}

void spin() {
  for (;;) g_counter = g_counter + 1;
}

void store_to_null() { *static_cast<volatile int*>(nullptr) = 1; }

void sum_of_landmarks() {
  for (int i = 0; i < 5; ++i) {
    g_watched = g_watched + static_cast<uint64_t>(i) * 7;
    rchk_test_landmark();
  }
  done("landmarks\n", 5);
}

void sleep_a_little() {
  timespec time{0, 300'000'000}, rest{77, 77};
  const long result = syscall(SYS_nanosleep, &time, &rest);
  done(result == 0 && rest.tv_sec == 77 ? "slept\n" : "woken\n", result == 0 ? 0 : 1);
}

void wait_in_epoll() {
  const int poll = epoll_create1(0);
  epoll_event event{};
  done(epoll_wait(poll, &event, 1, 300) == 0 ? "timeout\n" : "woken\n", 0);
}

// A timer's signal that is ignored must not wake the call.
void wait_with_ignored_signals() {
  signal(SIGALRM, SIG_IGN);
  const itimerval interval{{0, 20'000}, {0, 20'000}};
  setitimer(ITIMER_REAL, &interval, nullptr);
  wait_in_epoll();
}

void read_the_time_stamp() {
  const uint64_t first = __rdtsc();
  unsigned int processor = 0;
  const uint64_t second = __rdtscp(&processor);
  done(first < second ? "later\n" : "earlier\n", 0);
}

void read_the_time_stamp_with_signals_blocked() {
  sigset_t all, now;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  const uint64_t first = __rdtsc();
  sigprocmask(SIG_SETMASK, nullptr, &now);
  done(first != 0 && sigismember(&now, SIGSEGV) ? "blocked\n" : "open\n", 0);
}

void alarm_while_computing() {
  const itimerval once{{0, 0}, {0, 30'000}};
  setitimer(ITIMER_REAL, &once, nullptr);
  spin();
}

void alarm_while_waiting() {
  const itimerval once{{0, 0}, {0, 30'000}};
  setitimer(ITIMER_REAL, &once, nullptr);
  pause();
}

void handle_a_signal() {
  signal(SIGUSR1, [](int) { say("handled\n"); });
  raise(SIGUSR1);
  done("end\n", 9);
}

void handle_an_alarm_while_computing() {
  static volatile int alarms = 0;
  signal(SIGVTALRM, [](int) { alarms = alarms + 1; });
  // Of the time that it computes: where the recorder takes long, the next one does not come before
  // it has gone on.
  const itimerval often{{0, 20'000}, {0, 20'000}};
  setitimer(ITIMER_VIRTUAL, &often, nullptr);
  while (alarms < 3) g_counter = g_counter + 1;
  done("", 0);
}

// Each waits for the other's store, without a call.
void two_threads_spin() {
  static std::atomic<int> turn{0};
  std::thread other([] {
    while (turn != 1) continue;
    turn = 2;
  });
  turn = 1;
  while (turn != 2) continue;
  other.join();
  done("end\n", 0);
}

void make_a_child() {
  const pid_t pid = fork();
  if (pid == 0) done("child\n", 3);
  int status = 0;
  waitpid(pid, &status, 0);
  done("parent\n", WEXITSTATUS(status) + 1);
}

void call_in_32_bits() {
  long result = 0;
  asm volatile("int $0x80" : "=a"(result) : "0"(20) : "memory", "r8", "r9", "r10", "r11");
  done(result == getpid() ? "pid\n" : "no pid\n", 0);
}

void change_the_address_space() {
  const int file = open("/proc/self/exe", O_RDONLY);
  char* mapped =
      static_cast<char*>(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0));
  mapped[0] = 'x';
  char* memory = static_cast<char*>(
      mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  memory[4096] = 1;
  memory = static_cast<char*>(mremap(memory, 1 << 20, 1 << 21, MREMAP_MAYMOVE));
  madvise(memory, 8192, MADV_DONTNEED);
  mprotect(memory, 4096, PROT_READ);
  munmap(memory + 8192, 4096);
  sbrk(100'000);
  done(memory[4096] == 0 && mapped[0] == 'x' ? "mapped\n" : "lost\n", 0);
}

void push_flags() {
  uint64_t flags = 0;
  asm volatile(
      "rchk_test_pushf:\n\t"
      "pushfq\n\tpop %0"
      : "=r"(flags)
      :
      : "memory");
  done((flags & 0x100) == 0 ? "clear\n" : "trapped\n", 0);
}

void copy_a_string() {
  static char from[1000], to[1000];
  std::memset(from, 5, sizeof(from));
  const char* source = from;
  char* target = to;
  size_t count = sizeof(from);
  asm volatile(
      ".globl rchk_test_rep\n"
      "rchk_test_rep:\n\t"
      "rep movsb"
      : "+S"(source), "+D"(target), "+c"(count)
      :
      : "memory");
  done(to[999] == 5 ? "copied\n" : "short\n", 0);
}

void read_into_watched() {
  int pipe_ends[2];
  if (pipe(pipe_ends) != 0) _exit(1);
  const uint64_t value = 12345;
  if (write(pipe_ends[1], &value, 8) != 8) _exit(1);
  if (read(pipe_ends[0], const_cast<uint64_t*>(&g_watched), 8) != 8) _exit(1);
  done("read\n", 0);
}

void ask_about_the_tsc() {
  int mode = 0;
  prctl(PR_GET_TSC, &mode);
  done(mode == PR_TSC_ENABLE ? "enabled\n" : "trapped\n", 0);
}

void run_another_program() {
  char name[] = "/bin/echo", word[] = "other";
  char* arguments[] = {name, word, nullptr};
  char* environment[] = {nullptr};
  execve(name, arguments, environment);
  _exit(1);
}

void write_to_many_descriptors() {
  dup2(1, 7);
  [[maybe_unused]] auto written = write(7, "a", 1);
  written = write(2, "b", 1);
  const int file = open("/dev/null", O_WRONLY);
  written = write(file, "c", 1);
  dup2(file, 1);
  written = write(1, "d", 1);
  _exit(0);
}

void write_into_a_closed_pipe() {
  int pipe_ends[2];
  if (pipe(pipe_ends) != 0) _exit(1);
  close(pipe_ends[0]);
  [[maybe_unused]] const auto written = write(pipe_ends[1], "x", 1);
  _exit(1);
}

// A file that somebody else has opened comes by the socket that is standard input.
void write_to_a_received_file() {
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  if (recvmsg(0, &message, 0) != 1 || CMSG_FIRSTHDR(&message) == nullptr) _exit(1);
  int file = -1;
  std::memcpy(&file, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(file));
  void* const map = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, file, 0);
  const auto* const shown = static_cast<const volatile char*>(map);
  if (map == MAP_FAILED || shown[0] != 'a') _exit(1);
  if (pwrite(file, "received", 8, 0) != 8 || shown[0] != 'r') _exit(1);
  done("written\n", 0);
}

struct Guest {
  std::string_view name;
  void (*run)();
};
constexpr Guest kGuests[] = {
    {"abort", [] { std::abort(); }},
    {"alarm_while_computing", alarm_while_computing},
    {"alarm_while_waiting", alarm_while_waiting},
    {"ask_about_the_tsc", ask_about_the_tsc},
    {"call_in_32_bits", call_in_32_bits},
    {"change_the_address_space", change_the_address_space},
    {"copy_a_string", copy_a_string},
    {"exec", run_another_program},
    {"handle_a_signal", handle_a_signal},
    {"handle_an_alarm_while_computing", handle_an_alarm_while_computing},
    {"landmarks", sum_of_landmarks},
    {"make_a_child", make_a_child},
    {"nothing", [] { _exit(0); }},
    {"push_flags", push_flags},
    {"rdtsc", read_the_time_stamp},
    {"rdtsc_blocked", read_the_time_stamp_with_signals_blocked},
    {"read_into_watched", read_into_watched},
    {"sleep_a_little", sleep_a_little},
    {"spin", spin},
    {"store_to_null", store_to_null},
    {"wait_in_epoll", wait_in_epoll},
    {"wait_with_ignored_signals", wait_with_ignored_signals},
    {"two_threads_spin", two_threads_spin},
    {"write_into_a_closed_pipe", write_into_a_closed_pipe},
    {"write_to_a_received_file", write_to_a_received_file},
    {"write_to_many_descriptors", write_to_many_descriptors},
};

__attribute__((constructor)) void become_guest() {
  const char* name = std::getenv("RCHK_TEST_GUEST");
  if (name == nullptr) return;
  for (const Guest& guest : kGuests) {
    if (guest.name == name) {
      guest.run();
      _exit(0);
    }
  }
  _exit(111);
}

}  // namespace

}  // namespace rchk::record::test
