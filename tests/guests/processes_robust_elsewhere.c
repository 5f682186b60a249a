// build: -O1 -pthread -D_GNU_SOURCE
#include <sys/mman.h>

#include "tasks.h"

// The owner of a robust mutex ends, or executes a program, and has the mutex at another address
// than those who wait for it, one of whom has it twice.
static pthread_mutex_t* mapped(int file, int offset) {
  void* memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, offset);
  CHECK(memory != MAP_FAILED);
  return memory;
}

int main(int count, char** arguments) {
  (void)arguments;
  if (count > 1) return 5;
  int file = memfd_create("mutex", 0);
  CHECK(file >= 0 && ftruncate(file, 8192) == 0);
  pthread_mutex_t *mutex = mapped(file, 4096), *twin = mapped(file, 4096);
  pthread_mutexattr_t attributes;
  CHECK(pthread_mutexattr_init(&attributes) == 0);
  CHECK(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0);
  CHECK(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0);
  CHECK(pthread_mutex_init(mutex, &attributes) == 0);
  for (int executes = 0; executes < 2; executes++) {
    pid_t child = forked();
    if (child == 0) {
      pthread_mutex_t* own = mapped(file, 4096);
      CHECK(pthread_mutex_lock(own) == 0);
      if (executes) execl("/proc/self/exe", "again", "again", (char*)NULL);
      _exit(5);
    }
    CHECK(status_of(child) == 5);
    uint32_t words[2];
    memcpy(&words[0], mutex, 4);
    memcpy(&words[1], twin, 4);
    CHECK(words[0] == words[1]);
    CHECK(pthread_mutex_lock(mutex) == EOWNERDEAD);
    CHECK(pthread_mutex_consistent(mutex) == 0 && pthread_mutex_unlock(mutex) == 0);
  }
  return passed();
}
