// build: -O1 -D_GNU_SOURCE -pthread
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include "tasks.h"

// Reads and writes files, and sockets that do not block, so often that the recorder has it done
// without stops; and does to them what can be done meanwhile: with threads and without.
enum { kMost = 100000, kRounds = 1500 };

static uint8_t sent[kMost], got[kMost];
static volatile sig_atomic_t ticks, pipes;
static uint64_t state = 99;

static void on_signal(int number) { number == SIGPIPE ? pipes++ : ticks++; }

static uint64_t random_number(void) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return state >> 20;
}

static void fill(uint8_t* bytes, size_t size) {
  const uint8_t first = (uint8_t)random_number();
  for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(first + i * 7);
}

static void connected(int ends[2]) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(bind(listener, (void*)&address, sizeof address) == 0 && listen(listener, 5) == 0);
  CHECK(getsockname(listener, (void*)&address, &length) == 0);
  ends[0] = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect(ends[0], (void*)&address, sizeof address) == 0);
  ends[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
  int yes = 1;
  for (int i = 0; i < 2; i++) {
    CHECK(setsockopt(ends[i], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) == 0);
  }
  CHECK(ends[1] >= 0 && fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 && close(listener) == 0);
}

// By one of three calls.
static ssize_t written_by(int end, uint8_t* bytes, size_t size) {
  struct iovec parts[2] = {{bytes, size / 3}, {bytes + size / 3, size - size / 3}};
  const struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
  switch (random_number() % 3) {
    case 0:
      return write(end, bytes, size);
    case 1:
      return writev(end, parts, 2);
    default:
      return sendmsg(end, &message, MSG_NOSIGNAL);
  }
}

// What one end writes the other one reads, in pieces of other sizes.
static void step(const int ends[2]) {
  const int from = (int)(random_number() & 1);
  const size_t size = 1 + random_number() % (random_number() % 50 == 0 ? kMost : 3000);
  size_t written = 0, read_so_far = 0;
  fill(sent, size);
  while (read_so_far < size) {
    if (written < size) {
      const ssize_t some = written_by(ends[from], sent + written, size - written);
      CHECK(some > 0 || errno == EAGAIN);
      if (some > 0) written += (size_t)some;
    }
    const size_t asked = random_number() % 3 == 0 ? kMost - read_so_far : 1 + size / 3;
    const size_t room = asked < kMost - read_so_far ? asked : kMost - read_so_far;
    const ssize_t some = read(ends[!from], got + read_so_far, room);
    CHECK(some > 0 || (some == -1 && errno == EAGAIN));
    if (some > 0) read_so_far += (size_t)some;
  }
  CHECK(written == size && memcmp(sent, got, size) == 0);
}

static void steps(const int ends[2], int count) {
  for (int i = 0; i < count; i++) step(ends);
}

static void file_steps(int file, int count) {
  for (int i = 0; i < count; i++) {
    const size_t size = 1 + random_number() % 5000;
    fill(sent, size);
    const off_t at = lseek(file, (off_t)(random_number() % 20000), SEEK_SET);
    CHECK(at >= 0 && write(file, sent, size) == (ssize_t)size && lseek(file, 0, SEEK_CUR) > at);
    CHECK(lseek(file, at, SEEK_SET) == at && read(file, got, size) == (ssize_t)size);
    CHECK(memcmp(sent, got, size) == 0);
  }
}

static void refused_calls(const int ends[2], int file) {
  CHECK(read(ends[1], got, 10) == -1 && errno == EAGAIN);
  CHECK(write(ends[0], (void*)8, 10) == -1 && errno == EFAULT);
  CHECK(read(file, (void*)8, 10) == -1 && errno == EFAULT);
  CHECK(read(ends[1], got, 0) == 0 || errno == EAGAIN);
  CHECK(read(777, got, 1) == -1 && errno == EBADF);
  CHECK(read(file, (void*)-1, (size_t)-1) == -1);
}

static int pair[2], file;
static atomic_int go_on = 1;

// Another one that computes, and reads something else.
static void* computing(void* argument) {
  (void)argument;
  int other[2];
  connected(other);
  uint64_t sum = 0;
  char byte;
  while (go_on) {
    for (int i = 0; i < 20000; i++) sum += (uint64_t)i * sum + 1;
    CHECK(read(other[0], &byte, 1) == -1 && errno == EAGAIN);
  }
  CHECK(close(other[0]) == 0 && close(other[1]) == 0);
  return (void*)(uintptr_t)(sum | 1);
}

static void* with_own_descriptors(void* argument) {
  (void)argument;
  int ends[2];
  CHECK(unshare(CLONE_FILES) == 0 && pipe(ends) == 0);
  CHECK(dup2(ends[0], pair[1]) == pair[1]);
  for (int i = 0; i < 20; i++) {
    char byte = 0;
    CHECK(write(ends[1], "x", 1) == 1 && read(pair[1], &byte, 1) == 1 && byte == 'x');
  }
  return NULL;
}

static void* cancelled(void* argument) {
  (void)argument;
  char byte;
  for (;;) CHECK(read(pair[1], &byte, 1) == -1 && errno == EAGAIN);
}

// A read that waits, and that a signal ends.
static void waits(int end) {
  struct itimerval period = {{0, 20000}, {0, 20000}}, none = {{0, 0}, {0, 0}};
  const int before = ticks;
  CHECK(setitimer(ITIMER_REAL, &period, NULL) == 0);
  CHECK(read(end, got, 1) == -1 && errno == EINTR && ticks > before);
  CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
}

int main(void) {
  struct sigaction action = {.sa_handler = on_signal};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0 && sigaction(SIGPIPE, &action, NULL) == 0);
  file = open("stream", O_RDWR | O_CREAT | O_TRUNC, 0600);
  connected(pair);
  steps(pair, kRounds);
  file_steps(file, 300);
  for (int i = 0; i < 20; i++) refused_calls(pair, file);
  // While signals come.
  struct itimerval period = {{0, 900}, {0, 900}}, none = {{0, 0}, {0, 0}};
  CHECK(setitimer(ITIMER_REAL, &period, NULL) == 0);
  while (ticks < 60) steps(pair, 20), file_steps(file, 5);
  CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
  // Blocking for a while, by both ways.
  CHECK(fcntl(pair[1], F_SETFL, 0) == 0);
  waits(pair[1]);
  CHECK(fcntl(pair[1], F_SETFL, O_NONBLOCK) == 0);
  steps(pair, 200);
  int no = 0, yes = 1;
  CHECK(ioctl(pair[1], FIONBIO, &no) == 0);
  waits(pair[1]);
  CHECK(ioctl(pair[1], FIONBIO, &yes) == 0);
  steps(pair, 200);
  // A child has the same sockets, and makes one block.
  pid_t child = forked();
  if (child == 0) {
    steps(pair, 50);
    CHECK(fcntl(pair[1], F_SETFL, 0) == 0);
    _exit(3);
  }
  CHECK(status_of(child) == 3);
  waits(pair[1]);
  CHECK(fcntl(pair[1], F_SETFL, O_NONBLOCK) == 0);
  steps(pair, 100);
  // A descriptor becomes a pipe's, and the socket's again.
  int ends[2], kept = dup(pair[1]);
  CHECK(pipe(ends) == 0 && dup2(ends[0], pair[1]) == pair[1]);
  waits(pair[1]);
  CHECK(dup2(kept, pair[1]) == pair[1] && close(kept) == 0);
  steps(pair, 100);
  // The file in memory.
  uint8_t* shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  for (int i = 0; i < 50; i++) {
    CHECK(lseek(file, 0, SEEK_SET) == 0 && write(file, &i, 4) == 4 && memcmp(shared, &i, 4) == 0);
  }
  CHECK(munmap(shared, 4096) == 0);
  file_steps(file, 50);
  // With threads.
  pthread_t other = started(computing, NULL);
  steps(pair, 300);
  file_steps(file, 100);
  for (int i = 0; i < 20; i++) refused_calls(pair, file);
  CHECK(setitimer(ITIMER_REAL, &period, NULL) == 0);
  for (ticks = 0; ticks < 60;) steps(pair, 20), file_steps(file, 5);
  CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
  pthread_t reader = started(cancelled, NULL);
  usleep(20000);
  void* result;
  CHECK(pthread_cancel(reader) == 0 && pthread_join(reader, &result) == 0);
  CHECK(result == PTHREAD_CANCELED);
  steps(pair, 100);
  go_on = 0;
  joined(other);
  joined(started(with_own_descriptors, NULL));
  steps(pair, 100);
  // The other end closes.
  CHECK(close(pair[0]) == 0);
  while (read(pair[1], got, 10) != 0) CHECK(errno == EAGAIN);
  for (int i = 0; i < 20; i++) CHECK(read(pair[1], got, 10) == 0);
  while (write(pair[1], "x", 1) == 1) sleep_ms(1);
  for (int i = 0; i < 20; i++) {
    const ssize_t some = write(pair[1], "x", 1);
    CHECK(some == -1 && (errno == EPIPE || errno == ECONNRESET));
  }
  CHECK(pipes > 15);
  return passed();
}
