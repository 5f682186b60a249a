// For guests that make code: `mov eax, value; ret`, six bytes.
#pragma once

#include <sys/mman.h>

#include "guest.h"

typedef int (*Function)(void);

static inline void put_return(unsigned char* at, int value) {
  at[0] = 0xb8;
  memcpy(at + 1, &value, 4);
  at[5] = 0xc3;
}

static inline unsigned char* code_pages(size_t pages, int protection) {
  void* start = mmap(NULL, pages * 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(start != MAP_FAILED);
  return start;
}
