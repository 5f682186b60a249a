// build: -O1 -pthread -D_GNU_SOURCE
#include <dirent.h>
#include <sched.h>
#include <sys/resource.h>

#include "tasks.h"

// Threads that pin themselves, name themselves, ask for priorities and list each other.
static pthread_barrier_t barrier;

static void* settle(void* argument) {
  int self = (int)(intptr_t)argument, policy;
  char name[16], back[16];
  cpu_set_t allowed, one;
  struct sched_param param = {0};
  snprintf(name, sizeof name, "worker-%d", self);
  CHECK(pthread_setname_np(pthread_self(), name) == 0);
  CHECK(pthread_getname_np(pthread_self(), back, sizeof back) == 0 && strcmp(name, back) == 0);
  CHECK(pthread_getaffinity_np(pthread_self(), sizeof allowed, &allowed) == 0);
  CHECK(CPU_COUNT(&allowed) >= 1);
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
    if (CPU_ISSET(cpu, &allowed)) CPU_SET(cpu, &one);
  CHECK(pthread_setaffinity_np(pthread_self(), sizeof one, &one) == 0);
  CHECK(pthread_getschedparam(pthread_self(), &policy, &param) == 0 && policy == SCHED_OTHER);
  CHECK(setpriority(PRIO_PROCESS, (id_t)own_tid(), 5 + self) == 0);
  pthread_barrier_wait(&barrier);
  pthread_barrier_wait(&barrier);
  CHECK(getpriority(PRIO_PROCESS, (id_t)own_tid()) == 5 + self);
  return NULL;
}

int main(void) {
  pthread_t threads[3];
  char path[64], line[64];
  int found = 0;
  CHECK(pthread_barrier_init(&barrier, NULL, 4) == 0);
  for (intptr_t i = 0; i < 3; i++) threads[i] = started(settle, (void*)i);
  pthread_barrier_wait(&barrier);
  DIR* folder = opendir("/proc/self/task");
  for (struct dirent* entry; (entry = readdir(folder)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", entry->d_name);
    FILE* file = fopen(path, "r");
    CHECK(file != NULL && fgets(line, sizeof line, file) != NULL);
    fclose(file);
    found += strncmp(line, "worker-", 7) == 0 ? 10 : 1;
  }
  closedir(folder);
  CHECK(found == 31);
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < 3; i++) joined(threads[i]);
  return passed();
}
