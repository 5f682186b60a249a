// build: -O1 -D_GNU_SOURCE
#include <sys/time.h>
#include "guest.h"

// The old page of calls at a fixed address (vsyscall=xonly or emulate).
int main(void) {
  char line[256];
  int there = 0;
  FILE* maps = fopen("/proc/self/maps", "r");
  while (fgets(line, sizeof line, maps)) there |= strstr(line, "[vsyscall]") != NULL;
  fclose(maps);
  if (!there) return skipped();
  int (*get)(struct timeval*, void*) = (void*)0xffffffffff600000;
  time_t (*seconds)(time_t*) = (void*)0xffffffffff600400;
  struct timeval now = {0};
  CHECK(get(&now, NULL) == 0 && now.tv_sec > 1000000);
  time_t again = seconds(NULL);
  CHECK(again >= now.tv_sec);
  return passed();
}
