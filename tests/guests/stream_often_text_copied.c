// build: -O1 -D_GNU_SOURCE -fno-builtin
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "guest.h"

// Puts the C library's code on other pages, as programs do that want large ones for it, after it
// has read and written so often that a recorder may have had a hand in that: it goes on as before.
enum { kPage = 4096, kRounds = 1500 };

static long raw(long number, long first, long second, long third, long fourth, long fifth) {
  register long r10 __asm__("r10") = fourth;
  register long r8 __asm__("r8") = fifth;
  register long r9 __asm__("r9") = 0;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(first), "S"(second), "d"(third), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

static void copied(volatile char* to, const volatile char* from, size_t size) {
  for (size_t i = 0; i < size; i++) to[i] = from[i];
}

static char kept[64 * kPage];

// Nothing of the library runs meanwhile.
static void renew(char* begin, size_t size) {
  copied(kept, begin, size);
  const long flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  if (raw(SYS_mmap, (long)begin, (long)size, PROT_READ | PROT_WRITE, flags, -1) != (long)begin) {
    raw(SYS_exit_group, 98, 0, 0, 0, 0);
  }
  copied(begin, kept, size);
  raw(SYS_mprotect, (long)begin, (long)size, PROT_READ | PROT_EXEC, 0, 0);
}

static void often(int file, int rounds) {
  char bytes[64], own[64];
  for (int i = 0; i < rounds; i++) {
    for (size_t k = 0; k < sizeof own; k++) own[k] = (char)(i + (int)k);
    CHECK(pwrite(file, own, sizeof own, i % 100) == sizeof own);
    CHECK(lseek(file, i % 100, SEEK_SET) == i % 100);
    CHECK(read(file, bytes, sizeof bytes) == sizeof bytes);
    CHECK(memcmp(bytes, own, sizeof own) == 0);
    memset(bytes, 0, sizeof bytes);
    CHECK(pread(file, bytes, sizeof bytes, i % 100) == sizeof bytes);
    CHECK(memcmp(bytes, own, sizeof own) == 0);
    CHECK(lseek(file, 0, SEEK_SET) == 0 && write(file, own, 8) == 8);
  }
}

static void renew_around(void* function) {
  char* page = (char*)((uintptr_t)function & ~(uintptr_t)(kPage - 1));
  renew(page, 2 * kPage);
}

int main(void) {
  const int file = open("contents", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(file >= 0);
  void* const functions[] = {read, write, pread, pwrite};
  often(file, kRounds);
  for (int i = 0; i < 4; i++) {
    renew_around(functions[i]);
    often(file, kRounds / 3);
  }
  often(file, kRounds);
  return passed();
}
