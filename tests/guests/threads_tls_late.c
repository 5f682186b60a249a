// build: -O1 -D_GNU_SOURCE
#include <dlfcn.h>
#include "tasks.h"

// Thread-local storage of a library that is loaded late, in threads that were there before.
static const char* source =
    "__thread int big[300] = {7}; __thread int zero;"
    "int next(void) { big[0] += 3; zero++; return big[0] * 100 + zero; }";
static int (*volatile next)(void);
static void* wait_and_call(void* unused) {
  (void)unused;
  while (next == NULL) sched_yield();
  int last = 0;
  for (int i = 0; i < 10; i++) last = next();
  return (void*)(intptr_t)last;
}

int main(void) {
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) threads[i] = started(wait_and_call, NULL);
  write_file("late.c", source, strlen(source));
  if (system("gcc -shared -fPIC -o late.so late.c") != 0) {
    next = getpid;
    for (int i = 0; i < 3; i++) (void)joined(threads[i]);
    return skipped();
  }
  void* library = dlopen("./late.so", RTLD_NOW);
  CHECK(library != NULL);
  next = (int (*)(void))dlsym(library, "next");
  for (int i = 0; i < 3; i++) CHECK(joined(threads[i]) == 3710);
  CHECK(next() == 1001);
  return passed();
}
