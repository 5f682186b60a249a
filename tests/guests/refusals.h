// For guests of what a recording refuses with an errno: natively the call works, or fails as it
// likes; recorded it fails in the one way that programs are prepared for. Neither shows in the
// output.
#pragma once

#include "tasks.h"

// Whether a tracer is there, which is all that a guest can see of a recorder.
static inline int recorded(void) {
  char line[256];
  int tracer = 0;
  FILE* file = fopen("/proc/self/status", "r");
  while (fgets(line, sizeof line, file) != NULL) (void)sscanf(line, "TracerPid: %d", &tracer);
  fclose(file);
  return tracer != 0;
}

#define REFUSED(call, with)             \
  do {                                  \
    errno = 0;                          \
    long refused_result = (long)(call); \
    if (recorded_now) {                 \
      CHECK(refused_result == -1);      \
      CHECK(errno == (with));           \
    }                                   \
  } while (0)
