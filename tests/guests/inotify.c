// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "tasks.h"

// What a child does in a folder is told to the one who watches it.
int main(void) {
  char bytes[4096] __attribute__((aligned(8)));
  CHECK(mkdir("watched", 0700) == 0);
  int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  int watch = inotify_add_watch(
      fd, "watched", IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE);
  CHECK(fd >= 0 && watch > 0 && read(fd, bytes, sizeof bytes) == -1 && errno == EAGAIN);
  pid_t child = forked();
  if (child == 0) {
    write_file("watched/one", "1", 1);
    CHECK(rename("watched/one", "watched/two") == 0 && unlink("watched/two") == 0);
    _exit(0);
  }
  uint32_t cookie = 0;
  int seen = 0;
  struct pollfd polled = {fd, POLLIN, 0};
  while (seen < 5) {
    CHECK(poll(&polled, 1, 5000) == 1);
    ssize_t size = read(fd, bytes, sizeof bytes);
    CHECK(size > 0);
    for (char* at = bytes; at < bytes + size;) {
      struct inotify_event* event = (struct inotify_event*)at;
      CHECK(event->wd == watch);
      printf("%x %s\n", event->mask, event->name);
      if (event->mask == IN_MOVED_FROM) cookie = event->cookie;
      if (event->mask == IN_MOVED_TO) CHECK(event->cookie == cookie && cookie != 0);
      at += sizeof *event + event->len;
      seen++;
    }
  }
  CHECK(status_of(child) == 0 && inotify_rm_watch(fd, watch) == 0 && rmdir("watched") == 0);
  return passed();
}
