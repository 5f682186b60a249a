// What guests share. A guest does one thing, checks it itself, and ends in one word.
#pragma once

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(condition)                                      \
  do {                                                        \
    if (!(condition)) {                                       \
      printf("line %d: %s is false\n", __LINE__, #condition); \
      exit(99);                                               \
    }                                                         \
  } while (0)

static inline int passed(void) {
  puts("passed");
  return 0;
}

// For a guest whose machine lacks what it is about.
static inline int skipped(void) {
  puts("skipped");
  return 0;
}

// For one that runs 32-bit code, which some hypervisors make a fault.
static inline void skip_on_fault(int number) {
  (void)number;
  skipped();
  fflush(stdout);
  _exit(0);
}

static inline void write_file(const char* path, const void* bytes, size_t size) {
  FILE* file = fopen(path, "w");
  CHECK(file != NULL);
  CHECK(fwrite(bytes, 1, size, file) == size);
  CHECK(fclose(file) == 0);
}
