// build: -O1 -D_GNU_SOURCE
#include <linux/keyctl.h>

#include "tasks.h"

// Keys: add, describe, read, search.
int main(void) {
  long key = syscall(SYS_add_key, "user", "rchk:guest", "payload", 7, KEY_SPEC_PROCESS_KEYRING);
  if (key < 0) return skipped();
  char text[128] = {0};
  CHECK(syscall(SYS_keyctl, KEYCTL_READ, key, text, sizeof text) == 7 &&
        strcmp(text, "payload") == 0);
  long length = syscall(SYS_keyctl, KEYCTL_DESCRIBE, key, text, sizeof text);
  CHECK(length > 10 && strncmp(text, "user;", 5) == 0);
  CHECK(syscall(SYS_keyctl, KEYCTL_READ, key, text, 3) == 7);
  long ring = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 0);
  CHECK(syscall(SYS_keyctl, KEYCTL_SEARCH, ring, "user", "rchk:guest", 0) == key);
  int members[16];
  CHECK(syscall(SYS_keyctl, KEYCTL_READ, ring, members, sizeof members) >= 4 && members[0] == key);
  CHECK(syscall(SYS_request_key, "user", "rchk:guest", NULL, 0) == key);
  CHECK(syscall(SYS_keyctl, KEYCTL_UPDATE, key, "longer payload", 14) == 0);
  CHECK(syscall(SYS_keyctl, KEYCTL_READ, key, text, sizeof text) == 14);
  unsigned char able[4];
  CHECK(syscall(SYS_keyctl, KEYCTL_CAPABILITIES, able, sizeof able) > 0 || errno == EOPNOTSUPP);
  CHECK(syscall(SYS_keyctl, KEYCTL_REVOKE, key) == 0);
  CHECK(syscall(SYS_keyctl, KEYCTL_READ, key, text, sizeof text) == -1 && errno == EKEYREVOKED);
  return passed();
}
