// build: -O0 -no-pie -pthread
// Threads that name themselves, each other, or are named by nobody.
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/prctl.h>

pthread_barrier_t named, done;

void* work(void* name) {
  if (name != NULL) prctl(PR_SET_NAME, name);
  pthread_barrier_wait(&named);
  pthread_barrier_wait(&done);
  return NULL;
}

void renamed(void) {}

int main(void) {
  pthread_t threads[3];
  pthread_barrier_init(&named, NULL, 4);
  pthread_barrier_init(&done, NULL, 4);
  pthread_create(&threads[0], NULL, work, "<self> & \xc3");
  pthread_create(&threads[1], NULL, work, NULL);
  prctl(PR_SET_NAME, "leader");  // mark: lead
  pthread_create(&threads[2], NULL, work, NULL);
  pthread_barrier_wait(&named);
  pthread_setname_np(threads[1], "by another");  // mark: rename
  renamed();                                     // mark: renamed
  pthread_barrier_wait(&done);
  for (int i = 0; i < 3; ++i) pthread_join(threads[i], NULL);
  return 0;  // mark: end
}
