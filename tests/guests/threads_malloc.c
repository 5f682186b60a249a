// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

static void* juggle(void* argument) {
  unsigned seed = (unsigned)(intptr_t)argument;
  unsigned char* held[64] = {0};
  size_t sizes[64] = {0};
  for (int i = 0; i < 4000; i++) {
    int at = rand_r(&seed) % 64;
    for (size_t k = 0; k < sizes[at]; k += 61) CHECK(held[at][k] == (unsigned char)(at + 1));
    free(held[at]);
    sizes[at] = 1 + rand_r(&seed) % (i % 100 == 0 ? 200000 : 2000);
    held[at] = malloc(sizes[at]);
    CHECK(held[at] != NULL);
    memset(held[at], at + 1, sizes[at]);
  }
  for (int i = 0; i < 64; i++) free(held[i]);
  return NULL;
}

int main(void) {
  pthread_t threads[4];
  for (intptr_t i = 0; i < 4; i++) threads[i] = started(juggle, (void*)(i + 1));
  for (int i = 0; i < 4; i++) joined(threads[i]);
  return passed();
}
