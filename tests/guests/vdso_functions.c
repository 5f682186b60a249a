// build: -O1 -D_GNU_SOURCE -ldl
#include <dlfcn.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "guest.h"

// The vDSO is there, in one place, and what its functions say can be replayed.
static void* vdso;

static void* function(const char* name) {
  void* found = dlsym(vdso, name);
  CHECK(found != NULL);
  return found;
}

static uintptr_t mapped_at(void) {
  char line[256];
  uintptr_t found = 0;
  FILE* maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL);
  while (fgets(line, sizeof line, maps)) {
    if (strstr(line, "[vdso]") == NULL) continue;
    CHECK(found == 0);
    found = strtoul(line, NULL, 16);
  }
  fclose(maps);
  return found;
}

static void call_all(void) {
  int (*clock_now)(clockid_t, struct timespec*) = function("__vdso_clock_gettime");
  int (*resolution)(clockid_t, struct timespec*) = function("__vdso_clock_getres");
  int (*day)(struct timeval*, struct timezone*) = function("__vdso_gettimeofday");
  time_t (*seconds)(time_t*) = function("__vdso_time");
  int (*cpu)(unsigned*, unsigned*, void*) = function("__vdso_getcpu");
  for (int i = 0; i < 20; ++i) {
    struct timespec before, after, step;
    struct timeval now;
    CHECK(clock_now(CLOCK_MONOTONIC, &before) == 0);
    CHECK(clock_now(CLOCK_MONOTONIC, &after) == 0);
    CHECK(after.tv_sec > before.tv_sec ||
          (after.tv_sec == before.tv_sec && after.tv_nsec >= before.tv_nsec));
    CHECK(resolution(CLOCK_REALTIME, &step) == 0 && step.tv_nsec > 0);
    CHECK(clock_now(12345, &before) == -EINVAL);
    CHECK(day(&now, NULL) == 0);
    time_t stored = 0;
    const time_t second = seconds(&stored);
    CHECK(second == stored && second + 1 >= now.tv_sec);
    unsigned core = ~0u, node = ~0u;
    CHECK(cpu(&core, &node, NULL) == 0 && core != ~0u && node != ~0u);
    CHECK(cpu(NULL, NULL, NULL) == 0);
  }
}

int main(void) {
  const uintptr_t image = getauxval(AT_SYSINFO_EHDR);
  CHECK(image != 0 && image == mapped_at());
  CHECK(memcmp((void*)image, "\177ELF", 4) == 0);
  vdso = dlopen("linux-vdso.so.1", RTLD_NOW | RTLD_NOLOAD);
  CHECK(vdso != NULL);
  call_all();
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    call_all();
    // A program may write to it and take it away, unless the kernel has sealed it (Linux 6.15).
    if (mprotect((void*)image, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) == 0) {
      memset((char*)image + 4000, 7, 8);
      CHECK(mprotect((void*)image, 4096, PROT_READ | PROT_EXEC) == 0);
      call_all();
      CHECK(munmap((void*)image, 8192) == 0);
    }
    _exit(3);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
  call_all();
  return passed();
}
