// build: -O1 -pthread -D_GNU_SOURCE
#include <poll.h>
#include <sys/eventfd.h>

#include "tasks.h"

// Calls of several processes that one write ends, by a process that has ended before any of them
// goes on.
enum { kWaiters = 4, kRounds = 30 };

static int event, done;

static void wait_for_rounds(void) {
  for (int i = 0; i < kRounds; i++) {
    struct pollfd polled = {event, POLLIN, 0};
    uint64_t value = 1;
    CHECK(poll(&polled, 1, -1) == 1 && polled.revents == POLLIN);
    // Calls that a result of another one's would not fit.
    CHECK(lseek(event, 0, SEEK_CUR) == 0 || errno == ESPIPE);
    CHECK(getppid() > 1);
    CHECK(write(done, &value, sizeof value) == sizeof value);
    CHECK(read(event, &value, sizeof value) == sizeof value && value == 1);
  }
  _exit(0);
}

int main(void) {
  pid_t waiters[kWaiters];
  event = eventfd(0, EFD_SEMAPHORE);
  done = eventfd(0, EFD_SEMAPHORE);
  CHECK(event >= 0 && done >= 0);
  for (int i = 0; i < kWaiters; i++) {
    waiters[i] = forked();
    if (waiters[i] == 0) wait_for_rounds();
  }
  for (int i = 0; i < kRounds; i++) {
    sleep_ms(5);
    const pid_t waker = forked();
    if (waker == 0) {
      uint64_t all = kWaiters;
      if (write(event, &all, sizeof all) != sizeof all) _exit(1);
      _exit(0);
    }
    for (int k = 0; k < kWaiters; k++) {
      uint64_t value;
      CHECK(read(done, &value, sizeof value) == sizeof value);
    }
    CHECK(status_of(waker) == 0);
  }
  for (int i = 0; i < kWaiters; i++) CHECK(status_of(waiters[i]) == 0);
  return passed();
}
