// build: -O1 -pthread -D_GNU_SOURCE
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "tasks.h"

// What calls that wait leave of their buffers, beside another thread: the bytes that they store,
// and all others as they were; and nothing where they fail.
enum { kPageBytes = 4096 };

static int stream[2], datagrams[2], ends[2];

static void fill(void* bytes, size_t size) { memset(bytes, '.', size); }

static void check_rest(const char* bytes, size_t begin, size_t size) {
  for (size_t i = begin; i < size; i++) CHECK(bytes[i] == '.');
}

static void check_reads(void) {
  char text[64], other[64];
  fill(text, sizeof text);
  CHECK(write(ends[1], "hello", 5) == 5 && read(ends[0], text, sizeof text) == 5);
  CHECK(memcmp(text, "hello", 5) == 0);
  check_rest(text, 5, sizeof text);
  fill(text, sizeof text);
  fill(other, sizeof other);
  const struct iovec parts[] = {{text, 3}, {NULL, 0}, {other, sizeof other}};
  CHECK(write(ends[1], "hello", 5) == 5 && readv(ends[0], parts, 3) == 5);
  CHECK(memcmp(text, "hel.", 4) == 0 && memcmp(other, "lo.", 3) == 0);
  CHECK(parts[0].iov_base == text && parts[2].iov_base == other);
  const struct iovec same[] = {{text, 8}, {text + 2, 8}};
  CHECK(write(ends[1], "abcdefghijk", 11) == 11 && readv(ends[0], same, 2) == 11);
  CHECK(memcmp(text, "abijkfgh..", 10) == 0);
}

static void check_messages(void) {
  char text[64], control[128], name[128];
  struct sockaddr_un address;
  socklen_t bytes = sizeof address;
  fill(text, sizeof text);
  fill(&address, sizeof address);
  CHECK(send(datagrams[1], "hello", 5, 0) == 5);
  CHECK(recvfrom(datagrams[0], text, sizeof text, 0, (void*)&address, &bytes) == 5);
  CHECK(memcmp(text, "hello.", 6) == 0 && bytes < sizeof address);
  check_rest((char*)&address, bytes, sizeof address);
  fill(control, sizeof control);
  fill(name, sizeof name);
  fill(text, sizeof text);
  struct iovec part = {text, 3};
  struct msghdr header = {name, sizeof name, &part, 1, control, sizeof control, 0};
  CHECK(send(datagrams[1], "hello", 5, 0) == 5);
  CHECK(recvmsg(datagrams[0], &header, 0) == 3 && (header.msg_flags & MSG_TRUNC) != 0);
  CHECK(header.msg_name == name && header.msg_iov == &part && header.msg_control == control);
  CHECK(memcmp(text, "hel.", 4) == 0 && header.msg_controllen == 0 && header.msg_iovlen == 1);
  check_rest(name, header.msg_namelen, sizeof name);
  check_rest(control, 0, sizeof control);
  struct mmsghdr messages[2] = {{.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}}};
  struct timespec time = {1, 0};
  fill(text, sizeof text);
  CHECK(send(datagrams[1], "xy", 2, 0) == 2);
  CHECK(recvmmsg(datagrams[0], messages, 2, MSG_WAITFORONE, &time) == 1);
  CHECK(messages[0].msg_len == 2 && messages[0].msg_hdr.msg_iov == &part);
  CHECK(memcmp(text, "xy.", 3) == 0 && time.tv_sec <= 1);
}

static void check_queues(void) {
  struct {
    long type;
    char text[16];
  } message = {7, "hello"};
  int queue = msgget(IPC_PRIVATE, 0600);
  CHECK(queue >= 0 && msgsnd(queue, &message, 5, 0) == 0);
  message.type = 0;
  fill(message.text, sizeof message.text);
  CHECK(msgrcv(queue, &message, sizeof message.text, 0, 0) == 5 && message.type == 7);
  CHECK(memcmp(message.text, "hello.", 6) == 0 && msgctl(queue, IPC_RMID, NULL) == 0);
}

static void check_polls(void) {
  struct pollfd polled[] = {{ends[0], POLLIN, 99}, {-1, POLLIN, 99}, {ends[1], POLLOUT, 99}};
  struct timespec time = {5, 0};
  CHECK(ppoll(polled, 3, &time, NULL) == 1 && polled[0].revents == 0 && polled[1].revents == 0);
  CHECK(polled[2].revents == POLLOUT && polled[2].fd == ends[1] && polled[2].events == POLLOUT);
  struct epoll_event events[4], wanted = {.events = EPOLLOUT, .data.u64 = 5};
  int epoll = epoll_create1(0);
  CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[1], &wanted) == 0);
  fill(events, sizeof events);
  CHECK(epoll_wait(epoll, events, 4, -1) == 1 && events[0].data.u64 == 5);
  check_rest((char*)&events[1], 0, sizeof events - sizeof events[0]);
  fd_set in, out;
  FD_ZERO(&in);
  FD_ZERO(&out);
  FD_SET(ends[0], &in);
  FD_SET(ends[1], &out);
  struct timeval timeout = {5, 0};
  CHECK(select(ends[1] + 1, &in, &out, NULL, &timeout) == 1);
  CHECK(!FD_ISSET(ends[0], &in) && FD_ISSET(ends[1], &out) && timeout.tv_sec <= 5);
  close(epoll);
}

static void check_children(void) {
  int status = 0;
  struct rusage usage = {0};
  pid_t child = forked();
  if (child == 0) _exit(3);
  CHECK(wait4(child, &status, 0, &usage) == child && WEXITSTATUS(status) == 3);
  siginfo_t info;
  memset(&info, 0x55, sizeof info);
  child = forked();
  if (child == 0) _exit(4);
  CHECK(waitid(P_PID, (id_t)child, &info, WEXITED) == 0);
  CHECK(info.si_pid == child && info.si_status == 4 && info.si_code == CLD_EXITED);
}

// A call that cannot store does not take what it was to store.
static void check_failures(void) {
  char* pages = mmap(NULL, 3 * kPageBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(pages != MAP_FAILED);
  CHECK(mprotect(pages, kPageBytes, PROT_READ | PROT_WRITE) == 0);
  CHECK(write(ends[1], "kept", 4) == 4);
  CHECK(read(ends[0], pages + kPageBytes, 4) == -1 && errno == EFAULT);
  CHECK(syscall(SYS_read, ends[0], 8, 4) == -1 && errno == EFAULT);
  CHECK(munmap(pages + 2 * kPageBytes, kPageBytes) == 0);
  CHECK(read(ends[0], pages + 2 * kPageBytes, 4) == -1 && errno == EFAULT);
  // It reaches into memory that it cannot store to, and does not get there.
  CHECK(read(ends[0], pages + kPageBytes - 10, 100) == 4);
  CHECK(memcmp(pages + kPageBytes - 10, "kept", 4) == 0);
  CHECK(recv(stream[0], pages, 4, MSG_DONTWAIT) == -1 && errno == EAGAIN);
  // Behind the end of its file a mapping has no memory.
  FILE* file = tmpfile();
  CHECK(file != NULL && ftruncate(fileno(file), 100) == 0);
  char* mapped = mmap(NULL, 2 * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, fileno(file), 0);
  CHECK(mapped != MAP_FAILED && write(ends[1], "kept", 4) == 4);
  CHECK(read(ends[0], mapped + kPageBytes, 4) == -1 && errno == EFAULT);
  CHECK(read(ends[0], mapped, 4) == 4 && memcmp(mapped, "kept", 4) == 0);
  CHECK(munmap(pages, 2 * kPageBytes) == 0 && munmap(mapped, 2 * kPageBytes) == 0);
}

static void check_large(void) {
  enum { kLarge = 9 << 20, kPart = 50000 };
  char* large = malloc(kLarge);
  static char part[kPart];
  memset(part, 'x', sizeof part);
  fill(large, kLarge);
  CHECK(send(stream[1], part, sizeof part, 0) == sizeof part);
  CHECK(recv(stream[0], large + 1, kLarge - 1, 0) == sizeof part);
  CHECK(large[0] == '.' && large[1] == 'x' && large[kPart] == 'x');
  check_rest(large, kPart + 1, kLarge);
  free(large);
}

static void* wait_all_along(void* argument) {
  char byte;
  CHECK(read(*(int*)argument, &byte, 1) == 1 && byte == 'q');
  return argument;
}

int main(void) {
  int over[2];
  CHECK(pipe(over) == 0 && pipe(ends) == 0);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, stream) == 0);
  CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, datagrams) == 0);
  pthread_t thread = started(wait_all_along, &over[0]);
  sleep_ms(1);
  check_reads();
  check_messages();
  check_queues();
  check_polls();
  check_children();
  check_failures();
  check_large();
  CHECK(write(over[1], "q", 1) == 1);
  joined(thread);
  return passed();
}
