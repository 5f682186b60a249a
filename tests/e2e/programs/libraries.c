// build: -O0 -no-pie
// Loads a library, calls into it and unloads it.
#include <dlfcn.h>
#include <stdio.h>

double result;

int main(void) {
  void* library = dlopen("libm.so.6", RTLD_NOW);  // mark: open
  if (library == NULL) return 1;
  double (*root)(double) = (double (*)(double))dlsym(library, "cbrt");
  result = root(27.0);  // mark: opened
  dlclose(library);     // mark: close
  return result != 3;   // mark: closed
}
