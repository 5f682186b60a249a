// build: -O0 -no-pie
// What most sessions debug. Lines that scenarios name carry a mark.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { kCount = 10 };

int values[kCount];
int total;
char* text;

int add(int a, int b) {
  int sum = a + b;  // mark: add
  return sum;
}

void fill(int count) {
  for (int i = 0; i < count; ++i) {
    values[i] = i * i;              // mark: store
    total = add(total, values[i]);  // mark: call
  }
  values[0] = -1;  // mark: filled
}

int depth_of(int n) {
  if (n == 0) return 0;  // mark: bottom
  return 1 + depth_of(n - 1);
}

int main(void) {
  int local = 1;           // mark: begin
  write(1, "begin\n", 6);  // mark: write
  text = malloc(100);
  strcpy(text, "hello");  // mark: copy
  fill(kCount);           // mark: fill
  local += total;         // mark: middle
  text[0] = 'j';
  local += depth_of(5);  // mark: depth
  char line[64];
  int length = snprintf(line, sizeof line, "total %d %s\n", local, text);
  write(1, line, (size_t)length);  // mark: end
  free(text);
  return 5;  // mark: return
}
