// build: -O1
#include <dirent.h>
#include <sys/stat.h>

#include "guest.h"

int main(void) {
  char name[64];
  CHECK(mkdir("folder", 0700) == 0);
  for (int i = 0; i < 300; ++i) {
    sprintf(name, "folder/some-longer-name-%d", i);
    write_file(name, name, (size_t)(i % 10));
  }
  DIR* folder = opendir("folder");
  int count = 0;
  size_t size = 0;
  for (struct dirent* entry; (entry = readdir(folder)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    struct stat status;
    sprintf(name, "folder/%s", entry->d_name);
    CHECK(stat(name, &status) == 0);
    size += (size_t)status.st_size;
    ++count;
  }
  CHECK(count == 300 && size == 1350);
  rewinddir(folder);
  CHECK(readdir(folder) != NULL);
  CHECK(closedir(folder) == 0);
  CHECK(rmdir("folder") == -1 && errno == ENOTEMPTY);
  return passed();
}
