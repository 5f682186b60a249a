#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int ends[2], more[2];
static char buffer[64];
static struct pollfd polled;
static volatile int waiting;

static void* wait_for_text(void* argument) {
  waiting = 1;
  return read(ends[0], buffer, sizeof buffer) == 4 ? NULL : argument;
}

static void look(void) { waiting = 2; }

static ssize_t feed(void) { return write(ends[1], "text", 4); }

int main(void) {
  pthread_t thread;
  if (pipe(ends) != 0 || pipe(more) != 0) return 1;
  pthread_create(&thread, NULL, wait_for_text, NULL);
  while (waiting == 0) usleep(1000);
  usleep(20000);
  look();
  polled = (struct pollfd){.fd = more[0], .events = POLLIN};
  poll(&polled, 1, 2000);
  if (feed() != 4) return 1;
  pthread_join(thread, NULL);
  look();
  return strcmp(buffer, "text") != 0;
}
