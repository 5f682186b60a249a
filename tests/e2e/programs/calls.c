// build: -O0 -no-pie
// Calls of every form: nested, recursive, by pointer, through the linkage table.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int calls;
int numbers[6] = {5, 2, 9, 1, 7, 3};
int (*chosen)(int);

int leaf(int n) {
  ++calls;       // mark: leaf
  return n + 1;  // mark: leaf_return
}

int middle(int n) {
  int a = leaf(n);  // mark: first_leaf
  int b = leaf(a);  // mark: second_leaf
  return a * b;     // mark: middle_return
}

int factorial(int n) {
  if (n <= 1) return 1;          // mark: factorial_if
  int below = factorial(n - 1);  // mark: factorial_call
  return n * below;              // mark: factorial_return
}

int compare(const void* a, const void* b) {
  return *(const int*)a - *(const int*)b;  // mark: compare
}

int scoped(int n) {
  int local = n;  // mark: scoped_begin
  local += 10;    // mark: scoped_add
  local *= 2;     // mark: scoped_double
  return local;   // mark: scoped_return
}

int main(void) {
  int product = middle(3);                               // mark: call_middle
  int f = factorial(5);                                  // mark: call_factorial
  chosen = leaf;                                         // mark: choose
  int p = chosen(41);                                    // mark: call_pointer
  size_t length = strlen(getenv("PATH") ? "path" : "");  // mark: call_strlen
  qsort(numbers, 6, sizeof numbers[0], compare);         // mark: call_qsort
  int s = scoped(1);                                     // mark: call_scoped
  s += scoped(2);                                        // mark: call_scoped_again
  for (int i = 0; i < 3; ++i) {
    s += i;  // mark: loop
  }
  char line[80];
  int size = snprintf(line, sizeof line, "%d %d %d %zu %d\n", product, f, p, length, s);
  write(1, line, (size_t)size);  // mark: write
  return 0;                      // mark: return
}
