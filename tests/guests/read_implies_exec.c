// build: -O1 -pthread -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/personality.h>

#include "tasks.h"

// With READ_IMPLIES_EXEC what can be read can be executed (personality(2)): mapped, of the heap,
// given back its protection; in the thread that asked for it, and in its children.
static int result_of(uint8_t* code, uint8_t result) {
  const uint8_t bytes[] = {0xb8, result, 0, 0, 0, 0xc3};  // mov $result,%eax; ret
  memcpy(code, bytes, sizeof bytes);
  return ((int (*)(void))(void*)code)();
}

static uint8_t* mapped(int protection) {
  uint8_t* page = mmap(NULL, 8192, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(page != MAP_FAILED);
  return page;
}

static void* map_and_execute(void* argument) {
  (void)argument;
  return (void*)(intptr_t)result_of(mapped(PROT_READ | PROT_WRITE), 50);
}

int main(int count, char** arguments) {
  (void)arguments;
  if (count > 1) return (personality(0xffffffff) & READ_IMPLIES_EXEC) != 0 ? 4 : 3;
  uint8_t* before = mapped(PROT_NONE);
  int old = personality(0xffffffff);
  CHECK(personality((unsigned)old | READ_IMPLIES_EXEC) == old);
  CHECK(result_of(mapped(PROT_READ | PROT_WRITE), 42) == 42);
  CHECK(mprotect(before + 4096, 4096, PROT_READ | PROT_WRITE) == 0);
  CHECK(result_of(before + 4096, 43) == 43 && result_of(before + 4096, 44) == 44);
  uint8_t* heap = sbrk(8192);
  CHECK(result_of(heap, 45) == 45);
  heap = (uint8_t*)(((uintptr_t)heap + 4095) & ~(uintptr_t)4095);
  CHECK(mprotect(heap, 4096, PROT_NONE) == 0);
  CHECK(mprotect(heap, 4096, PROT_READ | PROT_WRITE) == 0 && result_of(heap, 46) == 46);
  int source = open("/proc/self/exe", O_RDONLY);
  CHECK(source >= 0);
  uint8_t* file = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, source, 0);
  CHECK(file != MAP_FAILED && result_of(file, 47) == 47);
  pid_t child = forked();
  if (child == 0) _exit(result_of(mapped(PROT_READ | PROT_WRITE), 48));
  CHECK(status_of(child) == 48);
  CHECK(joined(started(map_and_execute, NULL)) == 50);
  child = forked();
  if (child == 0) {
    execl("/proc/self/exe", "again", "again", (char*)NULL);
    _exit(9);
  }
  int status = status_of(child);  // 64-bit programs lose it (arch/x86/kernel/process_64.c)
  CHECK(status == 3 || status == 4);
  CHECK(personality((unsigned)old) == (int)((unsigned)old | READ_IMPLIES_EXEC));
  uint8_t* after = mapped(PROT_READ | PROT_WRITE);
  CHECK(mprotect(after, 4096, PROT_READ | PROT_EXEC) == 0);
  CHECK(mprotect(after, 4096, PROT_READ | PROT_WRITE) == 0);
  CHECK(mprotect(after + 4096, 4096, PROT_READ | PROT_EXEC) == 0 && after[4096] == 0);
  return passed();
}
