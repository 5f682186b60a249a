// For guests that make namespaces.
#pragma once

#include <fcntl.h>
#include <sched.h>

#include "guest.h"

static inline void put(const char* path, const char* text) {
  int fd = open(path, O_WRONLY);
  if (fd >= 0) (void)!write(fd, text, strlen(text)), close(fd);
}

// Makes the caller root of a user namespace. 0 where that is not allowed.
static inline int became_root_of_namespace(void) {
  char map[32];
  gid_t group = getgid();
  snprintf(map, sizeof map, "0 %d 1", getuid());
  if (unshare(CLONE_NEWUSER) != 0) return 0;
  put("/proc/self/setgroups", "deny");
  put("/proc/self/uid_map", map);
  snprintf(map, sizeof map, "0 %d 1", group);
  put("/proc/self/gid_map", map);
  return 1;
}
