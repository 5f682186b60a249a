// build: -O0 -no-pie
// Signals with handlers, from itself and from a fault, and one that is ignored.
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int handled[65];
int outside;
sigjmp_buf back;

void handler(int number) {
  ++handled[number];  // mark: handler
}

void fault_handler(int number) {
  ++handled[number];
  siglongjmp(back, 1);  // mark: jump
}

int twice(int n) {
  raise(SIGUSR1);  // mark: raise1
  return 2 * n;    // mark: raised1
}

int main(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  sigaction(SIGUSR1, &action, NULL);
  sigaction(SIGUSR2, &action, NULL);
  action.sa_handler = fault_handler;
  sigaction(SIGSEGV, &action, NULL);
  signal(SIGHUP, SIG_IGN);
  outside = twice(3);      // mark: twice
  outside += handled[10];  // mark: sum
  raise(SIGHUP);           // mark: ignored
  raise(SIGUSR2);          // mark: raise2
  outside += 100;          // mark: after2
  if (sigsetjmp(back, 1) == 0) {
    *(volatile int*)0x10 = 1;  // mark: fault
  }
  outside += 1000;  // mark: jumped
  printf("%d\n", outside);
  return 0;  // mark: return
}
