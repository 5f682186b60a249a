// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tasks.h"

// daemon(3), and a client that asks it over a socket and tells it to end.
static void serve(int listener) {
  for (;;) {
    char text[16] = {0};
    int client = accept(listener, NULL, NULL);
    if (client < 0 || read(client, text, sizeof text - 1) <= 0) _exit(1);
    pid_t pids[2] = {getpid(), getsid(0)};
    CHECK(write(client, pids, sizeof pids) == sizeof pids);
    close(client);
    if (strcmp(text, "end") == 0) _exit(0);
  }
}

static void ask(const struct sockaddr_un* where, const char* text, pid_t* pids) {
  int server = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK(connect(server, (const struct sockaddr*)where, sizeof *where) == 0);
  CHECK(write(server, text, strlen(text)) == (ssize_t)strlen(text));
  CHECK(read(server, pids, 2 * sizeof *pids) == 2 * sizeof *pids);
  char byte;
  CHECK(read(server, &byte, 1) == 0);
  close(server);
}

int main(void) {
  struct sockaddr_un where = {.sun_family = AF_UNIX, .sun_path = "server"};
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(bind(listener, (struct sockaddr*)&where, sizeof where) == 0 && listen(listener, 5) == 0);
  pid_t child = forked();
  if (child == 0) {
    CHECK(daemon(1, 0) == 0);
    serve(listener);
  }
  CHECK(status_of(child) == 0);
  pid_t first[2], second[2];
  ask(&where, "ask", first);
  ask(&where, "end", second);
  CHECK(first[0] == second[0] && first[0] != child && first[1] != getsid(0));
  return passed();
}
