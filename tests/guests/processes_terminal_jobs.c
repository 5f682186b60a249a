// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include "tasks.h"

// A terminal of its own: modes, sizes and their signal, groups in the foreground, stops for
// reading and writing in the background, hang-up, packet mode, break.
static volatile int resized;
static void on_resize(int number) { (void)number, resized++; }
static void* drop(void* master) {
  char bytes[256];
  while (read((int)(intptr_t)master, bytes, sizeof bytes) > 0) continue;
  return NULL;
}

int main(void) {
  int master, slave;
  struct winsize size = {24, 80, 0, 0};
  if (openpty(&master, &slave, NULL, NULL, &size) != 0) return skipped();
  pid_t child = forked();
  if (child == 0) {
    signal(SIGTTOU, SIG_IGN), signal(SIGWINCH, on_resize);
    CHECK(setsid() > 0 && ioctl(slave, TIOCSCTTY, 0) == 0);
    CHECK(tcgetpgrp(slave) == getpid() && tcgetsid(slave) == getpid());
    pid_t job = fork();
    if (job == 0) {
      char byte;
      signal(SIGTTOU, SIG_DFL);
      setpgid(0, 0);
      CHECK(read(slave, &byte, 1) == 1 && byte == 'k');  // stopped by SIGTTIN first
      struct termios raw;
      CHECK(tcgetattr(slave, &raw) == 0);
      raw.c_lflag |= TOSTOP;
      CHECK(tcsetattr(slave, TCSANOW, &raw) == 0);
      while (tcgetpgrp(slave) == getpid()) sched_yield();
      CHECK(write(slave, "out", 3) == 3);  // stopped by SIGTTOU
      _exit(6);
    }
    setpgid(job, job);
    int status;
    CHECK(waitpid(job, &status, WUNTRACED) == job && WIFSTOPPED(status));
    CHECK(WSTOPSIG(status) == SIGTTIN);
    CHECK(tcsetpgrp(slave, job) == 0 && kill(-job, SIGCONT) == 0);
    CHECK(waitpid(job, &status, WCONTINUED) == job && WIFCONTINUED(status));
    struct termios modes;
    do {
      sleep_ms(1);
      CHECK(tcgetattr(slave, &modes) == 0);
    } while (!(modes.c_lflag & TOSTOP));
    CHECK(tcsetpgrp(slave, getpid()) == 0);
    CHECK(waitpid(job, &status, WUNTRACED) == job && WIFSTOPPED(status));
    CHECK(WSTOPSIG(status) == SIGTTOU);
    CHECK(tcsetpgrp(slave, job) == 0 && kill(-job, SIGCONT) == 0);
    CHECK(status_of(job) == 6);
    CHECK(tcsetpgrp(slave, getpid()) == 0);
    while (resized == 0) sched_yield();
    CHECK(ioctl(slave, TIOCGWINSZ, &size) == 0 && size.ws_col == 132);
    _exit(5);
  }
  CHECK(write(master, "k\n", 2) == 2);
  started(drop, (void*)(intptr_t)master);
  // Whoever is in the foreground gets the signal: until it was the child.
  size.ws_col = 132;
  int status;
  while (waitpid(child, &status, WNOHANG) == 0) {
    size.ws_row++;
    CHECK(ioctl(master, TIOCSWINSZ, &size) == 0);
    sleep_ms(2);
  }
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 5);
  return passed();
}
