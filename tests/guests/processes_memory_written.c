// build: -O1 -D_GNU_SOURCE
#include <sys/mman.h>
#include <sys/uio.h>

#include "tasks.h"

// One process stores into another's memory while that one computes, sleeps and waits, in pieces.
static volatile int words[4096];

int main(void) {
  pid_t child = forked();
  if (child == 0) {
    unsigned long sum = 0;
    while (words[0] == 0) sched_yield();
    while (words[1] == 0) sum++;  // without a call
    sleep_ms(30);
    CHECK(words[2] == 7 && words[2048] == 9 && words[4095] == 11);
    while (words[3] == 0) sum++;
    _exit(words[3]);
  }
  int one = 1;
  struct iovec here = {&one, 4}, there = {(void*)&words[0], 4};
  sleep_ms(2);
  CHECK(process_vm_writev(child, &here, 1, &there, 1, 0) == 4);
  sleep_ms(8);
  there.iov_base = (void*)&words[1];
  CHECK(process_vm_writev(child, &here, 1, &there, 1, 0) == 4);
  int values[3] = {7, 9, 11};
  struct iovec parts[3] = {
      {(void*)&words[2], 4}, {(void*)&words[2048], 4}, {(void*)&words[4095], 4}};
  struct iovec all = {values, 12};
  CHECK(process_vm_writev(child, &all, 1, parts, 3, 0) == 12);
  sleep_ms(60);
  one = 42;
  there.iov_base = (void*)&words[3];
  CHECK(process_vm_writev(child, &here, 1, &there, 1, 0) == 4);
  CHECK(status_of(child) == 42 && words[0] == 0);
  // What is there only in part.
  char* pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(munmap(pages + 4096, 4096) == 0);
  char bytes[100];
  memset(bytes, 'z', sizeof bytes);
  struct iovec source = {bytes, 100}, edge = {pages + 4050, 100};
  ssize_t put = process_vm_writev(getpid(), &source, 1, &edge, 1, 0);
  CHECK(put <= 46 && (put <= 0 || pages[4050] == 'z'));
  return passed();
}
