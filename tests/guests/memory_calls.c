// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "tasks.h"

// mlock, mincore, seals, membarrier, and reads and writes of another process's memory.
int main(void) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  char* memory = mmap(NULL, 16384, PROT_READ | PROT_WRITE, flags, -1, 0);
  unsigned char resident[4];
  CHECK(memory != MAP_FAILED && mlock(memory, 8192) == 0 && mincore(memory, 16384, resident) == 0);
  CHECK((resident[0] & 1) == 1 && munlock(memory, 8192) == 0 && mlock2(memory, 4096, 1) == 0);
  CHECK(munlockall() == 0);
  int fd = memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC);
  CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
  CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0 && fcntl(fd, F_GET_SEALS) == F_SEAL_WRITE);
  CHECK(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
  long commands = syscall(SYS_membarrier, 0, 0, 0);
  if (commands > 0) CHECK((commands & 1) == 0 || syscall(SYS_membarrier, 1, 0, 0) == 0);

  int ends[2];
  char byte;
  strcpy(memory, "parent");
  CHECK(pipe(ends) == 0);
  pid_t child = forked();
  if (child == 0) {
    close(ends[1]);
    CHECK(read(ends[0], &byte, 1) == 0);
    _exit(strcmp(memory, "wrote!") == 0 ? 5 : 6);
  }
  char copy[8] = {0};
  struct iovec here = {copy, 7}, there = {memory, 7};
  CHECK(process_vm_readv(child, &here, 1, &there, 1, 0) == 7 && strcmp(copy, "parent") == 0);
  strcpy(copy, "wrote!");
  CHECK(process_vm_writev(child, &here, 1, &there, 1, 0) == 7 && strcmp(memory, "parent") == 0);
  CHECK(close(ends[1]) == 0 && status_of(child) == 5);
  return passed();
}
