// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include "tasks.h"

static sigjmp_buf back;
static void* volatile at;

static void handler(int number, siginfo_t* info, void* context) {
  (void)context;
  CHECK(number == SIGBUS && info->si_code == BUS_ADRERR);
  at = info->si_addr;
  siglongjmp(back, 1);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGBUS, &action, NULL) == 0);
  write_file("short", "text", 4);
  int fd = open("short", O_RDWR);
  volatile char* memory = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0);
  CHECK(memory != MAP_FAILED && memory[3] == 't' && memory[4095] == 0);
  if (sigsetjmp(back, 1) == 0) {
    CHECK(memory[4096] == 0);
    return 1;
  }
  CHECK(at == memory + 4096);
  CHECK(ftruncate(fd, 8192) == 0 && memory[4096] == 0);
  return passed();
}
