// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "tasks.h"

// Memory that a process gets from a stranger: a memfd sent over a socket, and shm_open by name;
// truncated and punched by one while the other has it mapped.
static int receive(int from) {
  char control[CMSG_SPACE(sizeof(int))], byte;
  struct iovec part = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  int fd;
  CHECK(recvmsg(from, &message, 0) == 1);
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  return fd;
}

static void send_it(int to, int fd) {
  char control[CMSG_SPACE(sizeof fd)] = {0}, byte = 'f';
  struct iovec part = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr* head = CMSG_FIRSTHDR(&message);
  *head = (struct cmsghdr){CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
  memcpy(CMSG_DATA(head), &fd, sizeof fd);
  CHECK(sendmsg(to, &message, 0) == 1);
}

static volatile char* map(int fd) {
  void* memory = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(memory != MAP_FAILED);
  return memory;
}

int main(void) {
  int sockets[2];
  char byte, name[32];
  snprintf(name, sizeof name, "/guest-%d", getpid());
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
  int named = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
  CHECK(named >= 0 && ftruncate(named, 16384) == 0);
  pid_t child = forked();
  if (child == 0) {
    int own = memfd_create("own", MFD_CLOEXEC);
    CHECK(ftruncate(own, 16384) == 0);
    volatile char *memory = map(own), *other = map(shm_open(name, O_RDWR, 0));
    memory[5] = 'm';
    other[6] = 's';
    send_it(sockets[1], own);
    CHECK(read(sockets[1], &byte, 1) == 1);  // the parent has changed both
    CHECK(memory[5] == 'M' && other[6] == 'S' && memory[8192] == 'x');
    CHECK(fallocate(own, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 4096) == 0);
    CHECK(memory[8192] == 0 && pwrite(own, "written", 7, 100) == 7);
    CHECK(write(sockets[1], "p", 1) == 1);
    _exit(0);
  }
  volatile char *memory = map(receive(sockets[0])), *mine = map(named);
  CHECK(memory[5] == 'm' && mine[6] == 's');
  memory[5] = 'M';
  mine[6] = 'S';
  memory[8192] = 'x';
  CHECK(write(sockets[0], "g", 1) == 1 && read(sockets[0], &byte, 1) == 1);
  CHECK(memory[8192] == 0 && memory[100] == 'w' && memory[106] == 'n');
  CHECK(status_of(child) == 0 && shm_unlink(name) == 0);
  return passed();
}
