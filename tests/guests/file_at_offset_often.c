// build: -O1 -D_GNU_SOURCE -pthread
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "tasks.h"

// Reads and writes files at offsets so often that the recorder has it done without stops, and does
// to the descriptors and the files what can be done to them meanwhile.
extern char** environ;

enum { kPages = 64, kRounds = 1500 };

static uint8_t model[kPages * 4096];
static volatile sig_atomic_t ticks;

static void on_tick(int number) {
  (void)number;
  ticks++;
}

// Writes and reads somewhere, in both the file and the model of it.
static void step(int file, uint64_t* state) {
  static uint8_t bytes[8192];
  *state = *state * 6364136223846793005ull + 1442695040888963407ull;
  const uint64_t random = *state >> 20;
  const size_t at = random % (sizeof model - 8192), size = 1 + (random >> 24) % 4096;
  if (random % 3 == 0) {
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(random + i * 7);
    CHECK(pwrite(file, bytes, size, (off_t)at) == (ssize_t)size);
    memcpy(model + at, bytes, size);
  } else {
    memset(bytes, 0, size);
    CHECK(pread(file, bytes, size, (off_t)at) == (ssize_t)size);
    CHECK(memcmp(bytes, model + at, size) == 0);
  }
}

static void steps(int file, int count) {
  static uint64_t state = 12345;
  for (int i = 0; i < count; i++) step(file, &state);
}

static void* in_thread(void* argument) {
  steps((int)(intptr_t)argument, 300);
  return NULL;
}

static void refused_calls(int file) {
  uint8_t bytes[16];
  CHECK(pread(file, bytes, sizeof bytes, -1) == -1 && errno == EINVAL);
  CHECK(pread(file, (void*)8, sizeof bytes, 0) == -1 && errno == EFAULT);
  CHECK(pwrite(file, (void*)8, sizeof bytes, 0) == -1 && errno == EFAULT);
  CHECK(pread(file, bytes, sizeof bytes, sizeof model + 100) == 0);
  CHECK(pread(file, bytes, 0, 0) == 0 && pwrite(file, bytes, 0, 0) == 0);
  CHECK(pread(file, bytes, sizeof bytes, sizeof model - 3) == 3);
  CHECK(pread(777, bytes, sizeof bytes, 0) == -1 && errno == EBADF);
}

int main(void) {
  int file = open("pages", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(file >= 0 && pwrite(file, model, sizeof model, 0) == (ssize_t)sizeof model);
  steps(file, kRounds);
  for (int i = 0; i < 20; i++) refused_calls(file);
  // While signals come.
  struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  struct itimerval period = {{0, 900}, {0, 900}}, none = {{0, 0}, {0, 0}};
  CHECK(setitimer(ITIMER_REAL, &period, NULL) == 0);
  while (ticks < 60) steps(file, 20);
  CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
  // The descriptor becomes another file's, a pipe's, and the file's again.
  int other = open("other", O_RDWR | O_CREAT | O_TRUNC, 0600), ends[2];
  CHECK(other >= 0 && pwrite(other, "other", 5, 0) == 5 && pipe(ends) == 0);
  int kept = dup(file);
  char text[8] = "";
  CHECK(dup2(other, file) == file && pread(file, text, 5, 0) == 5 && strcmp(text, "other") == 0);
  for (int i = 0; i < 50; i++) CHECK(pread(file, text, 5, 0) == 5);
  CHECK(close(file) == 0 && pread(file, text, 5, 0) == -1 && errno == EBADF);
  CHECK(dup3(ends[0], file, O_CLOEXEC) == file && pread(file, text, 1, 0) == -1 && errno == ESPIPE);
  CHECK(dup2(kept, file) == file);
  steps(file, 200);
  CHECK(close_range((unsigned)kept, (unsigned)kept, 0) == 0);
  // Children with descriptors of their own, in memory of their own and in this one.
  pid_t child = forked();
  if (child == 0) {
    steps(file, 100);
    CHECK(dup2(ends[0], file) == file && pread(file, text, 1, 0) == -1 && errno == ESPIPE);
    _exit(3);
  }
  CHECK(status_of(child) == 3);
  CHECK(pread(file, model, sizeof model, 0) == (ssize_t)sizeof model);
  posix_spawn_file_actions_t actions;
  CHECK(posix_spawn_file_actions_init(&actions) == 0);
  CHECK(posix_spawn_file_actions_adddup2(&actions, ends[0], file) == 0);
  char* const arguments[] = {"true", NULL};
  CHECK(posix_spawnp(&child, "true", &actions, NULL, arguments, environ) == 0);
  CHECK(status_of(child) == 0);
  steps(file, 200);
  // The file in memory, while it is written to.
  uint8_t* shared = mmap(NULL, sizeof model, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  uint8_t* own = mmap(NULL, sizeof model, PROT_READ, MAP_PRIVATE, file, 0);
  CHECK(shared != MAP_FAILED && own != MAP_FAILED);
  for (int i = 0; i < 100; i++) {
    steps(file, 5);
    CHECK(memcmp(shared, model, sizeof model) == 0 && memcmp(own, model, sizeof model) == 0);
  }
  CHECK(munmap(shared, sizeof model) == 0 && munmap(own, sizeof model) == 0);
  // The end of what may be written.
  ticks = 0;
  CHECK(sigaction(SIGXFSZ, &action, NULL) == 0);
  struct rlimit before, limit;
  CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
  limit = before;
  limit.rlim_cur = sizeof model;
  CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  for (int i = 0; i < 30; i++) {
    CHECK(pwrite(file, text, 1, sizeof model) == -1 && errno == EFBIG && ticks == i + 1);
    steps(file, 5);
  }
  CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
  joined(started(in_thread, (void*)(intptr_t)file));
  steps(file, 100);
  return passed();
}
