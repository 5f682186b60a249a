// build: -O1 -D_GNU_SOURCE -fno-builtin
#include <fcntl.h>

#include "tasks.h"

// Overwrites single bytes of the C library's code by /proc/PID/mem, as programs do that want to
// hear of its calls, after it has read and written so often that a recorder may have had a hand in
// that: what was there but for those bytes is what it finds.
enum { kCode = 64, kRounds = 1500 };
typedef unsigned char Code[kCode];

static void often(int file, int rounds) {
  char bytes[64], own[64];
  for (int i = 0; i < rounds; i++) {
    for (size_t k = 0; k < sizeof own; k++) own[k] = (char)(i + (int)k);
    CHECK(pwrite(file, own, sizeof own, i % 100) == sizeof own);
    CHECK(lseek(file, i % 100, SEEK_SET) == i % 100);
    CHECK(read(file, bytes, sizeof bytes) == sizeof bytes);
    CHECK(memcmp(bytes, own, sizeof own) == 0);
    CHECK(lseek(file, 0, SEEK_SET) == 0 && write(file, own, 8) == 8);
  }
}

// Of `cmpb $0, disp32(%rip)`, which asks whether there are threads: with a 1 in place of the 0 the
// function takes the way with threads, and does the same.
static int place_of_question(const unsigned char* code) {
  for (int i = 0; i + 7 <= kCode; i++) {
    if (code[i] == 0x80 && code[i + 1] == 0x3d && code[i + 6] == 0) return i + 6;
  }
  return -1;
}

static int opened(pid_t process) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/mem", process);
  int file = open(path, O_RDWR);
  CHECK(file >= 0);
  return file;
}

// `expected`: as the code was; with what is written in it afterwards.
static void overwrite(int memory, unsigned char* function, unsigned char* expected) {
  int place = place_of_question(expected);
  unsigned char byte = 1;
  if (place < 0) place = 0, byte = expected[0];
  CHECK(pwrite(memory, &byte, 1, (off_t)(uintptr_t)(function + place)) == 1);
  expected[place] = byte;
}

int main(void) {
  unsigned char* const functions[] = {(unsigned char*)read, (unsigned char*)write,
                                      (unsigned char*)pwrite};
  Code codes[3];
  for (int i = 0; i < 3; i++) memcpy(codes[i], functions[i], kCode);
  const int file = open("contents", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(file >= 0);
  often(file, kRounds);
  int ends[2], back[2];
  char byte = 0;
  CHECK(pipe(ends) == 0 && pipe(back) == 0);
  const pid_t child = forked();
  if (child == 0) {
    const int its = open("contents_of_child", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(its >= 0);
    often(its, kRounds);
    CHECK(write(back[1], &byte, 1) == 1);
    CHECK(read(ends[0], codes, sizeof codes) == sizeof codes);
    for (int i = 0; i < 3; i++) CHECK(memcmp(codes[i], functions[i], kCode) == 0);
    often(its, kRounds);
    for (int i = 0; i < 3; i++) CHECK(memcmp(codes[i], functions[i], kCode) == 0);
    _exit(0);
  }
  CHECK(read(back[0], &byte, 1) == 1);
  Code of_child[3];
  memcpy(of_child, codes, sizeof codes);
  const int memory_of_child = opened(child);
  for (int i = 0; i < 3; i++) overwrite(memory_of_child, functions[i], of_child[i]);
  CHECK(write(ends[1], of_child, sizeof of_child) == sizeof of_child);
  CHECK(status_of(child) == 0);
  often(file, kRounds);
  const int memory = opened(getpid());
  for (int i = 0; i < 3; i++) {
    overwrite(memory, functions[i], codes[i]);
    CHECK(memcmp(codes[i], functions[i], kCode) == 0);
    often(file, kRounds);
    CHECK(memcmp(codes[i], functions[i], kCode) == 0);
  }
  return passed();
}
