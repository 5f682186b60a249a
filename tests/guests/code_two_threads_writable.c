// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

#include "code.h"

// Pages that are writable and executable at once: a call site is patched while another thread
// runs through it. Both targets are right; after the writer has said so only the new one is.
static unsigned char* code;
static atomic_int stop, patched, calls;

static void* call(void* argument) {
  while (stop == 0) {
    int lowest = patched, result = ((Function)code)(), highest = patched + 1;
    CHECK(result >= lowest && result <= highest);
    calls++;
  }
  return argument;
}

int main(void) {
  code = code_pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
  put_return(code + 3, 0);  // the immediate is aligned, so that it is stored in one piece
  code[0] = code[1] = code[2] = 0x90;
  pthread_t thread = started(call, NULL);
  while (calls == 0) sched_yield();
  for (int i = 1; i <= 200; i++) {
    atomic_store((atomic_int*)(code + 4), i);
    patched = i;
    if (i % 20 == 0) sleep_ms(1);
  }
  stop = 1;
  joined(thread);
  return passed();
}
