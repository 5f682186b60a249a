// build: -O1 -D_GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <sys/stat.h>
#include "tasks.h"

// Libraries loaded and unloaded over and over by threads, symbols looked up, dl_iterate_phdr.
static int counted(struct dl_phdr_info* info, size_t size, void* count) {
  (void)size;
  *(int*)count += info->dlpi_phnum > 0;
  return 0;
}

static void* load(void* name) {
  int sum = 0;
  for (int i = 0; i < 30; i++) {
    void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return (void*)-1;
    void* symbol = dlsym(library, strstr(name, "libm") ? "cos" : "zlibVersion");
    if (strstr(name, "libm")) sum += (int)(1000 * ((double (*)(double))symbol)(i));
    Dl_info info;
    CHECK(dladdr(symbol, &info) != 0 && info.dli_fname != NULL);
    CHECK(dlclose(library) == 0);
  }
  return (void*)(intptr_t)(sum != 0);
}

int main(void) {
  int before = 0, after = 0;
  dl_iterate_phdr(counted, &before);
  pthread_t threads[3];
  char* names[3] = {"libm.so.6", "libz.so.1", "libm.so.6"};
  for (int i = 0; i < 3; i++) threads[i] = started(load, names[i]);
  for (int i = 0; i < 3; i++) (void)joined(threads[i]);
  dl_iterate_phdr(counted, &after);
  CHECK(before > 1 && after >= before && dlopen("/no/such/library.so", RTLD_LAZY) == NULL);
  CHECK(dlerror() != NULL && dlsym(RTLD_DEFAULT, "puts") != NULL);
  return passed();
}
