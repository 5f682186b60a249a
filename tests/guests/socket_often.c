// build: -O1 -D_GNU_SOURCE -pthread
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include "tasks.h"

// Sends and receives by sockets that do not block, so often that the recorder has it done without
// stops; with flags that change what that means, and with addresses; with threads and without.
enum { kMost = 100000 };

static uint8_t sent[kMost], got[kMost + 64];
static volatile sig_atomic_t ticks, pipes;
static uint64_t state = 5;
static int pair[2], other_kind[2];

static void on_signal(int number) { number == SIGPIPE ? pipes++ : ticks++; }

static uint64_t random_number(void) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return state >> 20;
}

static void fill(uint8_t* bytes, size_t size) {
  const uint8_t first = (uint8_t)random_number();
  for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(first + i * 7);
}

// Two ends of a connection by TCP, or two by UDP that know each other.
static void connected(int ends[2], int type) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  const int first = socket(AF_INET, type, 0);
  CHECK(bind(first, (void*)&address, sizeof address) == 0);
  CHECK(type == SOCK_DGRAM || listen(first, 5) == 0);
  CHECK(getsockname(first, (void*)&address, &length) == 0);
  ends[0] = socket(AF_INET, type, 0);
  CHECK(connect(ends[0], (void*)&address, sizeof address) == 0);
  ends[1] = first;
  if (type == SOCK_STREAM) {
    ends[1] = accept4(first, NULL, NULL, 0);
    CHECK(ends[1] >= 0 && close(first) == 0);
    const int yes = 1;
    for (int i = 0; i < 2; i++) {
      CHECK(setsockopt(ends[i], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) == 0);
    }
  } else {
    CHECK(getsockname(ends[0], (void*)&address, &length) == 0);
    CHECK(connect(ends[1], (void*)&address, sizeof address) == 0);
  }
  for (int i = 0; i < 2; i++) CHECK(fcntl(ends[i], F_SETFL, O_NONBLOCK) == 0);
}

// What one end sends the other one receives, in pieces of other sizes.
static void step(void) {
  const int sending[] = {0, MSG_NOSIGNAL, MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL | MSG_DONTWAIT};
  const int receiving[] = {0, MSG_DONTWAIT, MSG_WAITALL, MSG_PEEK};
  const int from = (int)(random_number() & 1);
  const size_t size = 1 + random_number() % (random_number() % 50 == 0 ? kMost : 3000);
  size_t written = 0, read_so_far = 0;
  fill(sent, size);
  while (read_so_far < size) {
    if (written < size) {
      const int flags = written + 1 < size ? sending[random_number() % 5] : 0;
      const size_t some = flags == MSG_MORE ? (size - written + 1) / 2 : size - written;
      const ssize_t gone = send(pair[from], sent + written, some, flags);
      CHECK(gone > 0 || (gone == -1 && errno == EAGAIN));
      if (gone > 0) written += (size_t)gone;
    }
    const size_t asked = random_number() % 3 == 0 ? kMost - read_so_far : 1 + size / 3;
    const size_t room = asked < kMost - read_so_far ? asked : kMost - read_so_far;
    const int flags = receiving[random_number() % 4];
    uint8_t* const to = got + read_so_far;
    to[room] = 0x5a;
    const ssize_t some = recv(pair[!from], to, room, flags);
    CHECK(some > 0 || (some == -1 && errno == EAGAIN));
    CHECK(to[room] == 0x5a);
    if (some > 0 && flags == MSG_PEEK) {
      CHECK(memcmp(to, sent + read_so_far, (size_t)some) == 0);
      memset(to, 0, (size_t)some);
    } else if (some > 0) {
      read_so_far += (size_t)some;
    }
  }
  CHECK(written == size && memcmp(sent, got, size) == 0);
}

static void steps(int count) {
  for (int i = 0; i < count; i++) step();
}

// Of messages what there is no room for is lost, and is counted where that is asked for.
static void messages(int count) {
  for (int i = 0; i < count; i++) {
    const size_t size = 2 + random_number() % 2000;
    fill(sent, size);
    CHECK(send(other_kind[0], sent, size, 0) == (ssize_t)size);
    memset(got, 0x5a, size);
    CHECK(recv(other_kind[1], got, size / 2, MSG_PEEK) == (ssize_t)(size / 2));
    CHECK(got[size / 2] == 0x5a && memcmp(got, sent, size / 2) == 0);
    CHECK(recv(other_kind[1], got, size / 2, MSG_PEEK | MSG_TRUNC) == (ssize_t)size);
    CHECK(got[size / 2] == 0x5a);
    const size_t room = i % 2 == 0 ? sizeof got : size / 2;
    CHECK(recv(other_kind[1], got, room, 0) == (ssize_t)(room < size ? room : size));
    CHECK(memcmp(got, sent, room < size ? room : size) == 0);
    CHECK(recv(other_kind[1], got, sizeof got, 0) == -1 && errno == EAGAIN);
    CHECK(send(other_kind[0], sent, 0, 0) == 0 && recv(other_kind[1], got, 10, 0) == 0);
  }
}

// The same calls with addresses.
static void with_addresses(void) {
  struct sockaddr_in address, own;
  for (int i = 0; i < 30; i++) {
    socklen_t length = sizeof own;
    CHECK(getsockname(other_kind[1], (void*)&own, &length) == 0);
    CHECK(sendto(other_kind[0], &i, sizeof i, 0, (void*)&own, sizeof own) == sizeof i);
    memset(&address, 0, sizeof address);
    length = sizeof address;
    CHECK(recvfrom(other_kind[1], got, 100, 0, (void*)&address, &length) == sizeof i);
    CHECK(memcmp(got, &i, sizeof i) == 0 && length == sizeof address);
    CHECK(address.sin_family == AF_INET && address.sin_port != own.sin_port);
    CHECK(sendto(other_kind[0], &i, sizeof i, 0, NULL, 0) == sizeof i);
    CHECK(recvfrom(other_kind[1], got, 100, 0, NULL, NULL) == sizeof i);
  }
}

static void refused_calls(int file) {
  char* volatile nowhere = (void*)8;
  CHECK(recv(pair[1], got, 10, 0) == -1 && errno == EAGAIN);
  CHECK(recv(pair[1], got, 10, MSG_OOB) == -1 && errno == EINVAL);
  CHECK(send(pair[0], nowhere, 10, 0) == -1 && errno == EFAULT);
  char byte = 0;
  CHECK(send(pair[0], "x", 1, 0) == 1);
  CHECK(recv(pair[1], nowhere, 10, 0) == -1 && errno == EFAULT);
  CHECK(recv(pair[1], &byte, 1, 0) == 1 && byte == 'x');
  CHECK(recv(777, got, 1, 0) == -1 && errno == EBADF);
  CHECK(recv(file, got, 1, 0) == -1 && errno == ENOTSOCK);
  CHECK(send(file, got, 1, 0) == -1 && errno == ENOTSOCK);
}

// A call that waits, and that a signal ends.
static void waits(void) {
  struct itimerval period = {{0, 20000}, {0, 20000}}, none = {{0, 0}, {0, 0}};
  const int before = ticks;
  CHECK(fcntl(pair[1], F_SETFL, 0) == 0 && setitimer(ITIMER_REAL, &period, NULL) == 0);
  CHECK(recv(pair[1], got, 1, 0) == -1 && errno == EINTR && ticks > before);
  CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0 && fcntl(pair[1], F_SETFL, O_NONBLOCK) == 0);
}

static ssize_t one_sent_by(int call, int end) {
  struct iovec part = {"x", 1};
  const struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (call == 0) return send(end, "x", 1, 0);
  if (call == 1) return write(end, "x", 1);
  return call == 2 ? writev(end, &part, 1) : sendmsg(end, &message, 0);
}

static void while_signals_come(int until) {
  struct itimerval period = {{0, 900}, {0, 900}}, none = {{0, 0}, {0, 0}};
  CHECK(setitimer(ITIMER_REAL, &period, NULL) == 0);
  for (ticks = 0; ticks < until;) steps(10);
  CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
}

static atomic_int go_on = 1;

static void* computing(void* argument) {
  uint64_t sum = 0;
  sigset_t all;  // who takes another one's signal ends that one's wait
  CHECK(sigfillset(&all) == 0 && pthread_sigmask(SIG_BLOCK, &all, NULL) == 0);
  int ends[2];
  connected(ends, SOCK_STREAM);
  while (go_on) {
    sum += computed(20000);
    CHECK(recv(ends[0], &sum, 8, 0) == -1 && errno == EAGAIN);
  }
  return (void*)((uintptr_t)argument + (sum | 1));
}

static void* cancelled(void* argument) {
  (void)argument;
  char byte;
  for (;;) CHECK(recv(pair[1], &byte, 1, 0) == -1 && errno == EAGAIN);
}

int main(void) {
  struct sigaction action = {.sa_handler = on_signal};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0 && sigaction(SIGPIPE, &action, NULL) == 0);
  const int file = open("socket", O_RDWR | O_CREAT | O_TRUNC, 0600);
  connected(pair, SOCK_STREAM);
  connected(other_kind, SOCK_DGRAM);
  steps(600);
  messages(100);
  with_addresses();
  for (int i = 0; i < 20; i++) refused_calls(file);
  while_signals_come(40);
  waits();
  steps(100);
  const pid_t child = forked();
  if (child == 0) {
    steps(50);
    messages(20);
    _exit(3);
  }
  CHECK(status_of(child) == 3);
  for (int i = 0; i < 1600; i++) {
    CHECK(one_sent_by(i % 4, pair[i % 2]) == 1);
    while (recv(pair[1 - i % 2], got, 1, 0) != 1) CHECK(errno == EAGAIN);
  }
  // With threads.
  const pthread_t other = started(computing, NULL);
  steps(60);
  messages(20);
  for (int i = 0; i < 3; i++) refused_calls(file);
  while_signals_come(20);
  go_on = 0;
  joined(other);
  steps(200);
  messages(100);
  with_addresses();
  waits();
  steps(100);
  const pthread_t reader = started(cancelled, NULL);
  void* result;
  sleep_ms(20);
  CHECK(pthread_cancel(reader) == 0 && pthread_join(reader, &result) == 0);
  CHECK(result == PTHREAD_CANCELED);
  steps(50);
  // The other end closes.
  CHECK(close(pair[0]) == 0);
  for (int i = 0; i < 20; i++) CHECK(recv(pair[1], got, 10, 0) == 0);
  while (send(pair[1], "x", 1, 0) == 1) sleep_ms(1);
  const struct itimerval period = {{0, 700}, {0, 700}}, none = {{0, 0}, {0, 0}};
  for (int i = 0; i < 120; i++) {
    if (i == 40) CHECK(setitimer(ITIMER_REAL, &period, NULL) == 0);
    const int before = pipes;
    CHECK(one_sent_by(i % 4, pair[1]) == -1 && (errno == EPIPE || errno == ECONNRESET));
    CHECK(pipes == before + (errno == EPIPE));  // at once
    CHECK(send(pair[1], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE && pipes <= before + 1);
  }
  CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
  return passed();
}
