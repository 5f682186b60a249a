// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

// Every thread ends by pthread_exit: the process ends with the last one, with status 0.
static void* late(void* argument) {
  sleep_ms(10 * (intptr_t)argument);
  if ((intptr_t)argument == 3) passed();
  return NULL;
}

int main(void) {
  for (intptr_t i = 1; i <= 3; i++) CHECK(pthread_detach(started(late, (void*)i)) == 0);
  pthread_exit(NULL);
}
