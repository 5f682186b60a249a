// build: -O1 -D_GNU_SOURCE
#include <sys/mman.h>

#include "guest.h"

// A page holds code that has run, and data. What the kernel stores to it, or takes from it, is no
// store of the program's; the program's own next store is.
static const unsigned char kZero[] = {0x31, 0xc0, 0xc3};  // xor eax, eax; ret
static unsigned char* page;

static void run_code(void) {
  memcpy(page, kZero, sizeof kZero);
  CHECK(((int (*)(void))page)() == 0);
}

static void patch(unsigned char value) {
  const unsigned char code[] = {0xb0, value, 0xc3};  // mov al, value; ret
  memcpy(page, code, sizeof code);
  CHECK((((int (*)(void))page)() & 0xff) == value);
}

int main(void) {
  int ends[2];
  page = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(page != MAP_FAILED && pipe(ends) == 0);
  for (int i = 0; i < 3; i++) {
    run_code();
    CHECK(write(ends[1], "data", 4) == 4 && read(ends[0], page + 512, 4) == 4);
    page[1024] = 1;
    CHECK(memcmp(page + 512, "data", 4) == 0);
    run_code();
    patch((unsigned char)i);
  }
  for (int i = 0; i < 3; i++) {
    run_code();
    CHECK(madvise(page, 4096, MADV_DONTNEED) == 0);
    patch((unsigned char)(i + 7));
  }
  return passed();
}
