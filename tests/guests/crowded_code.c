// build: -O1 -D_GNU_SOURCE
// status: 7
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "guest.h"

// No hole is left in reach of the code: a replay has to put its own copies elsewhere.
enum { kMostMaps = 256 };
static volatile uint64_t counted;
static double table[64];
static const double factors[4] = {1.5, 2.5, -3.25, 0.125};
static uint64_t (*volatile indirect)(uint64_t);

struct Range {
  uintptr_t begin, end;
};

static uint64_t mixed(uint64_t x) { return (x ^ counted) * 0x9e3779b97f4a7c15; }

static int read_maps(struct Range* out) {
  static char text[65536];
  int file = open("/proc/self/maps", O_RDONLY), count = 0;
  ssize_t size = 0, got;
  while ((got = read(file, text + size, sizeof text - 1 - size)) > 0) size += got;
  close(file);
  for (char* line = text; *line && count < kMostMaps; line = strchr(line, '\n') + 1) {
    char* end;
    out[count].begin = strtoul(line, &end, 16);
    out[count++].end = strtoul(end + 1, NULL, 16);
  }
  return count;
}

static void fill_around(uintptr_t code) {
  const uintptr_t reach = 0x84000000, top = 0x7ffffffff000;
  const uintptr_t page = code & ~4095ul;
  uintptr_t at = page - reach, last = page + reach < top ? page + reach : top;
  static struct Range maps[kMostMaps];
  int count = read_maps(maps);
  for (int i = 0; i <= count && at < last; i++) {
    uintptr_t end = i < count && maps[i].begin < last ? maps[i].begin : last;
    if (end > at) {
      mmap((void*)at, end - at, PROT_NONE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
    }
    if (i < count && maps[i].end > at) at = maps[i].end;
  }
}

static void on_fault(int signal) {
  (void)signal;
  counted += 1000;
  struct sigaction action = {.sa_handler = SIG_DFL};
  sigaction(SIGSEGV, &action, NULL);
  _exit(counted == 1200 ? 7 : 8);
}

int main(void) {
  struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
  if (setrlimit(RLIMIT_STACK, &limit) != 0) {
    getrlimit(RLIMIT_STACK, &limit);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_STACK, &limit) == 0);
  }
  fill_around((uintptr_t)main);
  fill_around((uintptr_t)&read);
  void* library = dlopen("libm.so.6", RTLD_NOW);
  if (library == NULL) return skipped();
  double (*sine)(double) = (double (*)(double))dlsym(library, "sin");
  uint64_t sum = 1;
  double total = 0;
  indirect = mixed;
  for (int i = 0; i < 200; i++) {
    counted++;
    table[i & 63] += sine(i) * factors[i & 3];
    total += table[(i * 7) & 63];
    sum = indirect(sum) + (uint64_t)(total * 1000);
    char text[32];
    snprintf(text, sizeof text, "%.6f %lu", total, sum);
    sum += strlen(text) + (uint64_t)text[3];
  }
  printf("%lu\n", sum);
  fflush(stdout);
  CHECK(signal(SIGSEGV, on_fault) != SIG_ERR);
  *(volatile char*)16 = (char)counted;
  return 9;
}
