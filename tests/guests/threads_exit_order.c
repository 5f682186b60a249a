// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

// The first thread ends first; the process lives on until its last one ends.
static pthread_t first, second;

static void* outlive(void* argument) {
  joined(argument == NULL ? first : second);
  if (argument != NULL) {
    puts("the last one");
    exit(passed());  // the leader has long been a zombie
  }
  sleep_ms(5);
  puts("after the first");
  return NULL;
}

int main(void) {
  first = pthread_self();
  second = started(outlive, NULL);
  started(outlive, &second);
  puts("the first ends");
  pthread_exit(NULL);
}
