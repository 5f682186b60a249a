// build: -O1 -pthread -D_GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "tasks.h"

// A thread waits in calls that store, and others disturb it: by signals, forks, programs that are
// executed, mappings that come and go, death.
enum { kPageBytes = 4096, kHoleBytes = 64 * kPageBytes };

static int ends[2];
static char buffer[64];
static atomic_int seen_signals, waiting;
static void* expected;

static void note_arguments(int number, siginfo_t* info, void* context) {
  const greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  (void)number, (void)info;
  // The guest's own, as natively.
  if ((void*)registers[REG_RSI] != expected && (void*)registers[REG_RDI] != expected) _exit(98);
  seen_signals++;
}

static void handle_signals(int flags) {
  struct sigaction action = {.sa_sigaction = note_arguments, .sa_flags = SA_SIGINFO | flags};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
}

static atomic_int waiter;

static void* read_once(void* argument) {
  waiter = own_tid();
  waiting = 1;
  ssize_t got = read(ends[0], buffer, sizeof buffer);
  return (void*)(got == -1 ? -(intptr_t)errno : (intptr_t)got + (argument != NULL));
}

static void* poll_once(void* argument) {
  struct pollfd* polled = argument;
  waiter = own_tid();
  waiting = 1;
  return (void*)(intptr_t)poll(polled, 1, 60000);
}

static pthread_t waiting_thread(void* (*body)(void*), void* argument) {
  waiting = 0;
  pthread_t thread = started(body, argument);
  while (waiting == 0) sched_yield();
  sleep_ms(2);
  return thread;
}

static void send_signals(int count) {
  for (int i = 0; i < count; i++) {
    int seen = seen_signals;
    CHECK(syscall(SYS_tgkill, getpid(), waiter, SIGUSR1) == 0);
    while (seen_signals == seen) sched_yield();
    sleep_ms(1);
  }
}

static void check_signals(void) {
  expected = buffer;
  handle_signals(SA_RESTART);
  pthread_t thread = waiting_thread(read_once, NULL);
  send_signals(3);
  CHECK(buffer[0] == 0 && write(ends[1], "abc", 3) == 3);
  CHECK(joined(thread) == 3 && memcmp(buffer, "abc", 4) == 0);
  handle_signals(0);
  thread = waiting_thread(read_once, NULL);
  send_signals(1);
  CHECK(joined(thread) == -EINTR && memcmp(buffer, "abc", 4) == 0);
  static struct pollfd polled;
  polled = (struct pollfd){.fd = ends[0], .events = POLLIN};
  expected = &polled;
  // One that is stopped goes on with what is left of its time.
  signal(SIGUSR2, SIG_IGN);
  thread = waiting_thread(poll_once, &polled);
  for (int i = 0; i < 3; i++) CHECK(syscall(SYS_tgkill, getpid(), waiter, SIGUSR2) == 0);
  sleep_ms(2);
  CHECK(polled.revents == 0 && write(ends[1], "d", 1) == 1);
  CHECK(joined(thread) == 1 && polled.revents == POLLIN);
  CHECK(read(ends[0], buffer, 1) == 1);
}

static void check_fork(void) {
  memset(buffer, 0, sizeof buffer);
  pthread_t thread = waiting_thread(read_once, NULL);
  pid_t child = forked();
  if (child == 0) {
    CHECK(buffer[0] == 0 && write(ends[1], "from a child", 13) == 13);
    sleep_ms(2);
    _exit(buffer[0] != 0);
  }
  CHECK(joined(thread) == 13 && strcmp(buffer, "from a child") == 0);
  CHECK(status_of(child) == 0);
}

static void check_ends(void) {
  for (int i = 0; i < 2; i++) {
    pid_t child = forked();
    if (child == 0) {
      waiting_thread(read_once, NULL);
      if (i == 0) execl("/bin/true", "true", NULL);
      kill(getpid(), SIGKILL);
    }
    CHECK(status_of(child) == (i == 0 ? 0 : 128 + SIGKILL));
  }
}

static char large[100000];

static void* read_much(void* argument) {
  waiting = 1;
  return argument + read(ends[0], large, sizeof large);
}

static void check_mappings(void) {
  // Somewhere between two mappings nothing is, and may be mapped.
  char* hole = mmap(NULL, kHoleBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(hole != MAP_FAILED && munmap(hole, kHoleBytes) == 0);
  pthread_t thread = waiting_thread(read_much, NULL);
  CHECK(write(ends[1], "abc", 3) == 3 && joined(thread) == 3);
  char* again = mmap(hole, kHoleBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  CHECK(again == hole);
  for (int i = 0; i < kHoleBytes; i += kPageBytes) CHECK(hole[i] == 0);
  hole[0] = 'x';
  thread = waiting_thread(read_much, NULL);
  CHECK(write(ends[1], "abcd", 4) == 4 && joined(thread) == 4);
  CHECK(hole[0] == 'x' && hole[1] == 0 && munmap(hole, kHoleBytes) == 0);
}

static char* page;

static void* read_to_page(void* argument) {
  waiting = 1;
  ssize_t got = read(ends[0], page, kPageBytes);
  CHECK(got == -1 && errno == EFAULT);
  return argument;
}

static void check_buffer_that_goes(void) {
  page = mmap(NULL, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(page != MAP_FAILED);
  pthread_t thread = waiting_thread(read_to_page, NULL);
  CHECK(munmap(page, kPageBytes) == 0 && write(ends[1], "lost", 4) == 4);
  joined(thread);
}

int main(void) {
  CHECK(pipe(ends) == 0);
  check_signals();
  check_fork();
  check_ends();
  check_mappings();
  check_buffer_that_goes();
  return passed();
}
