// build: -O1 -D_GNU_SOURCE
#include <elf.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "tasks.h"

// A program that reads the clock often, and then does away with the vDSO, or with what has come to
// its memory meanwhile.
static int (*clock_now)(clockid_t, struct timespec*);

struct ranges {
  uintptr_t begin[64], end[64];
  int count;
};

static struct ranges mapped(const char* with) {
  struct ranges all = {.count = 0};
  char line[512];
  FILE* maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL);
  while (fgets(line, sizeof line, maps)) {
    if (strstr(line, with) == NULL || all.count == 64) continue;
    char* rest;
    all.begin[all.count] = strtoul(line, &rest, 16);
    all.end[all.count++] = strtoul(rest + 1, NULL, 16);
  }
  fclose(maps);
  return all;
}

static int64_t read_often(int count) {
  struct timespec now = {0, 0};
  for (int i = 0; i < count; i++) CHECK(clock_now(CLOCK_MONOTONIC, &now) == 0);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void* vdso_symbol(uintptr_t image, const char* name) {
  const Elf64_Ehdr* header = (const Elf64_Ehdr*)image;
  const Elf64_Phdr* segments = (const Elf64_Phdr*)(image + header->e_phoff);
  const Elf64_Sym* symbols = NULL;
  const char* names = NULL;
  const uint32_t* hash = NULL;
  for (int i = 0; i < header->e_phnum; i++) {
    if (segments[i].p_type != PT_DYNAMIC) continue;
    const Elf64_Dyn* entry = (const Elf64_Dyn*)(image + segments[i].p_offset);
    for (; entry->d_tag != DT_NULL; entry++) {
      if (entry->d_tag == DT_SYMTAB) symbols = (const Elf64_Sym*)(image + entry->d_un.d_ptr);
      if (entry->d_tag == DT_STRTAB) names = (const char*)(image + entry->d_un.d_ptr);
      if (entry->d_tag == DT_HASH) hash = (const uint32_t*)(image + entry->d_un.d_ptr);
    }
  }
  if (symbols == NULL || names == NULL || hash == NULL) return NULL;
  for (uint32_t i = 0; i < hash[1]; i++) {
    if (strcmp(names + symbols[i].st_name, name) == 0) return (void*)(image + symbols[i].st_value);
  }
  return NULL;
}

int main(void) {
  struct ranges vdso = mapped("[vdso]");
  if (vdso.count != 1) return skipped();
  const size_t size = vdso.end[0] - vdso.begin[0];
  const uintptr_t header = getauxval(AT_SYSINFO_EHDR);
  CHECK(header == vdso.begin[0]);
  clock_now = (int (*)(clockid_t, struct timespec*))vdso_symbol(header, "__vdso_clock_gettime");
  CHECK(clock_now != NULL);
  struct ranges at_first = mapped(" rw-p ");
  const int64_t first = read_often(2000);
  pid_t child = forked();
  if (child == 0) {
    CHECK(munmap((void*)header, size) == 0);
    struct timespec now = {0, 0};
    for (int i = 0; i < 300; i++) CHECK(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now) == 0);
    _exit(now.tv_sec * 1000000000LL + now.tv_nsec >= first ? 3 : 1);
  }
  CHECK(status_of(child) == 3);
  child = forked();
  if (child == 0) {
    // What has come to the memory since it began.
    struct ranges all = mapped(" rw-p ");
    for (int i = 0; i < all.count; i++) {
      int known = 0;
      for (int j = 0; j < at_first.count; j++) known |= at_first.begin[j] == all.begin[i];
      if (!known) CHECK(munmap((void*)all.begin[i], 8192) == 0);
    }
    _exit(read_often(700) >= first ? 4 : 1);
  }
  CHECK(status_of(child) == 4);
  CHECK(read_often(100) >= first);
  return passed();
}
