// build: -O0 -no-pie -D_GNU_SOURCE
// Memory of one file at two addresses, code in it rewritten over and over, and a third mapping
// that only a system call fills.
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { kRounds = 40, kBytes = 8192 };

unsigned char* writable;
unsigned char* executable;
unsigned char* file_view;  // of another file, which is changed by pwrite
int results[kRounds];
int total;

static void put_return(unsigned char* at, int value) {
  at[0] = 0xb8;
  memcpy(at + 1, &value, 4);
  at[5] = 0xc3;
}

void round_done(int round) {
  results[round] = ((int (*)(void))executable)();
  total += results[round] + file_view[0];  // mark: round
}

int main(void) {
  int code = memfd_create("code", 0), data = memfd_create("data", 0);
  if (ftruncate(code, kBytes) != 0 || ftruncate(data, kBytes) != 0) return 1;
  char filled[kBytes];
  memset(filled, 7, sizeof filled);
  if (pwrite(code, filled, sizeof filled, 0) != sizeof filled) return 1;
  writable = mmap(NULL, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, code, 0);
  executable = mmap(NULL, kBytes, PROT_READ | PROT_EXEC, MAP_SHARED, code, 0);
  file_view = mmap(NULL, kBytes, PROT_READ, MAP_SHARED, data, 0);
  if (writable == MAP_FAILED || executable == MAP_FAILED || file_view == MAP_FAILED) return 2;
  for (int round = 0; round < kRounds; ++round) {
    put_return(writable, round * 3);
    char byte = (char)(round + 1);
    if (pwrite(data, &byte, 1, 0) != 1) return 3;
    round_done(round);
  }
  total += executable[kBytes - 1];  // mark: untouched
  return 0;                         // mark: return
}
