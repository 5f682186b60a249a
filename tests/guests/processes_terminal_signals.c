// build: -O1 -D_GNU_SOURCE -lutil
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "tasks.h"

// What a terminal does to groups: SIGTTIN and SIGTTOU to the background, SIGINT, SIGQUIT and
// SIGTSTP by keys, SIGWINCH by size, SIGHUP when it goes.
static volatile sig_atomic_t last;

static void handler(int number) { last = number; }

static void await(int number) {
  while (last != number) sleep_ms(1);
  last = 0;
}

static void background(int terminal) {
  int status;
  pid_t child = forked();
  if (child == 0) {
    char byte;
    CHECK(setpgid(0, 0) == 0);
    (void)!read(terminal, &byte, 1);
    _exit(byte == 'k' ? 7 : 8);
  }
  (void)setpgid(child, child);
  CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
  CHECK(WSTOPSIG(status) == SIGTTIN && tcsetpgrp(terminal, child) == 0);
  CHECK(kill(child, SIGCONT) == 0 && status_of(child) == 7);
  signal(SIGTTOU, SIG_IGN);
  CHECK(tcsetpgrp(terminal, getpgrp()) == 0);
}

static void in_session(int terminal, int in, int out) {
  const int numbers[] = {SIGINT, SIGQUIT, SIGTSTP, SIGWINCH, SIGHUP};
  char byte = 'r';
  for (int i = 0; i < 5; i++) signal(numbers[i], handler);
  struct termios settings;
  CHECK(tcgetattr(terminal, &settings) == 0);
  settings.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
  CHECK(tcsetattr(terminal, TCSANOW, &settings) == 0);
  CHECK(write(out, &byte, 1) == 1);
  background(terminal);
  for (int i = 0; i < 5; i++) {
    CHECK(write(out, &byte, 1) == 1);
    await(numbers[i]);
  }
  (void)in;
  _exit(6);
}

int main(void) {
  int master, slave, ends[2];
  char byte;
  struct winsize size = {10, 20, 0, 0};
  CHECK(openpty(&master, &slave, NULL, NULL, NULL) == 0 && pipe(ends) == 0);
  pid_t child = forked();
  if (child == 0) {
    close(master);
    CHECK(setsid() > 0 && ioctl(slave, TIOCSCTTY, 0) == 0);
    in_session(slave, ends[0], ends[1]);
  }
  close(slave);
  const char keys[] = {'k', 3, 28, 26};
  for (int i = 0; i < 4; i++) {
    CHECK(read(ends[0], &byte, 1) == 1 && write(master, &keys[i], 1) == 1);
  }
  CHECK(read(ends[0], &byte, 1) == 1 && ioctl(master, TIOCSWINSZ, &size) == 0);
  CHECK(read(ends[0], &byte, 1) == 1 && close(master) == 0);
  CHECK(status_of(child) == 6);
  return passed();
}
