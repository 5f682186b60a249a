// build: -O1 -pthread -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

#include "code.h"

// One thread makes functions, changes, unmaps and maps them again, while the other calls them, as
// the compiler thread of a virtual machine does.
static Function volatile function;
static atomic_int wanted, called;

static void* call(void* argument) {
  int last = 0;
  while (last < 300) {
    int number = wanted;
    if (number == last) {
      sched_yield();
      continue;
    }
    CHECK(function() == number);
    called = last = number;
  }
  return argument;
}

int main(void) {
  unsigned char* pages = code_pages(2, PROT_READ | PROT_WRITE);
  pthread_t thread = started(call, NULL);
  for (int i = 1; i <= 300; i++) {
    if (i % 50 == 0) {
      CHECK(munmap(pages, 8192) == 0);
      pages = code_pages(2, PROT_READ | PROT_WRITE);
    }
    CHECK(mprotect(pages, 8192, PROT_READ | PROT_WRITE) == 0);
    unsigned char* at = pages + (i % 3) * 2047;
    put_return(at, i);
    CHECK(mprotect(pages, 8192, PROT_READ | PROT_EXEC) == 0);
    function = (Function)at;
    wanted = i;
    while (called != i) sched_yield();
  }
  joined(thread);
  return passed();
}
