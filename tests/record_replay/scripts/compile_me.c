// A source for cc1 to work on: headers of the C library, a few functions, and a table that the
// preprocessor makes long.
#include <math.h>
#include <netdb.h>
#include <pthread.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MIX(n)                                                  \
  unsigned mix_##n(const unsigned char* bytes, size_t length) { \
    unsigned hash = n##u;                                       \
    for (size_t i = 0; i < length; ++i) {                       \
      hash = (hash ^ bytes[i]) * 16777619u;                     \
      if (hash % (n##u + 3) == 0) hash ^= hash >> (n % 13 + 1); \
      switch (bytes[i] % 7) {                                   \
        case 0:                                                 \
          hash += (unsigned)i;                                  \
          break;                                                \
        case 1:                                                 \
          hash -= n##u;                                         \
          break;                                                \
        case 3:                                                 \
          hash = hash << 3 | hash >> 29;                        \
          break;                                                \
        default:                                                \
          break;                                                \
      }                                                         \
    }                                                           \
    return hash;                                                \
  }
#define TEN(n) \
  MIX(n##0)    \
  MIX(n##1) MIX(n##2) MIX(n##3) MIX(n##4) MIX(n##5) MIX(n##6) MIX(n##7) MIX(n##8) MIX(n##9)
#define HUNDRED(n) \
  TEN(n##0)        \
  TEN(n##1) TEN(n##2) TEN(n##3) TEN(n##4) TEN(n##5) TEN(n##6) TEN(n##7) TEN(n##8) TEN(n##9)
HUNDRED(1)
HUNDRED(2)
#ifdef LARGE
HUNDRED(3)
HUNDRED(4)
HUNDRED(5)
HUNDRED(6)
HUNDRED(7)
HUNDRED(8)
#endif

static double integrate(double (*function)(double), double from, double to, int steps) {
  double sum = 0, width = (to - from) / steps;
  for (int i = 0; i < steps; ++i) sum += function(from + (i + 0.5) * width) * width;
  return sum;
}

static int compare(const void* left, const void* right) {
  return *(const int*)left - *(const int*)right;
}

int main(int argc, char** argv) {
  const unsigned char* text = (const unsigned char*)argv[0];
  size_t length = strlen(argv[0]);
  int values[100];
  for (int i = 0; i < 100; ++i) values[i] = (int)(mix_100(text, length) * (unsigned)i % 1000);
  qsort(values, 100, sizeof values[0], compare);
  printf("%u %u %d %f\n", mix_155(text, length), mix_299(text, length), values[50],
         integrate(sin, 0, argc, 1000));
  return 0;
}
