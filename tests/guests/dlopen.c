// build: -O1
#include <dlfcn.h>

#include "guest.h"

int main(void) {
  for (int round = 0; round < 5; ++round) {
    void* library = dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return skipped();
    double (*cosine)(double) = (double (*)(double))dlsym(library, "cos");
    CHECK(cosine != NULL && cosine(0) == 1.0);
    CHECK(dlclose(library) == 0);
  }
  return passed();
}
