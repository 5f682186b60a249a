// build: -O1 -D_GNU_SOURCE -lutil
#include <pty.h>
#include <signal.h>
#include <termios.h>

#include "tasks.h"

// A shell on a terminal of its own, with job control: what is typed to it is echoed and done.
static char output[20000];

static void read_until(int terminal, const char* wanted) {
  size_t size = strlen(output);
  while (strstr(output, wanted) == NULL) {
    ssize_t count = read(terminal, output + size, sizeof output - 1 - size);
    CHECK(count > 0);
    size += (size_t)count;
  }
}

static void type(int terminal, const char* text) {
  output[0] = 0;
  memset(output, 0, sizeof output);
  CHECK(write(terminal, text, strlen(text)) == (ssize_t)strlen(text));
}

int main(void) {
  int terminal;
  struct winsize size = {40, 100, 0, 0};
  fflush(stdout);
  pid_t child = forkpty(&terminal, NULL, NULL, &size);
  CHECK(child >= 0);
  if (child == 0) {
    signal(SIGINT, SIG_DFL);  // a shell ignores it for what runs in its background
    setenv("PS1", "> ", 1);
    setenv("ENV", "", 1);
    execl("/bin/sh", "sh", "-i", NULL);
    _exit(99);
  }
  type(terminal, "stty size; echo $((6*7))-done\n");
  read_until(terminal, "40 100\r\n");
  read_until(terminal, "42-done\r\n");
  type(terminal, "sleep 100; echo interrupted $((1+1))\n");
  read_until(terminal, "interrupted $((1+1))\r\n");  // the echo
  sleep_ms(50);
  type(terminal, "\003");
  read_until(terminal, "^C");
  type(terminal, "sh -c 'kill -STOP $$; exit 3'\n");
  read_until(terminal, "topped");
  type(terminal, "fg; echo status $?\n");
  read_until(terminal, "status 3\r\n");
  type(terminal, "exit 4\n");
  CHECK(status_of(child) == 4);
  return passed();
}
