// Pancake flips over all permutations: integers and branches in small arrays.
#include <stdio.h>
#include <stdlib.h>

enum { kMost = 16 };

static int flips_of(const int* permutation, int n) {
  int copy[kMost], flips = 0;
  for (int i = 0; i < n; ++i) copy[i] = permutation[i];
  for (int first = copy[0]; first != 0; first = copy[0]) {
    for (int low = 0, high = first; low < high; ++low, --high) {
      int swap = copy[low];
      copy[low] = copy[high];
      copy[high] = swap;
    }
    ++flips;
  }
  return flips;
}

int main(int argc, char** argv) {
  int n = argc > 1 ? atoi(argv[1]) : 8;
  if (n < 2 || n > kMost) return 2;
  int permutation[kMost], count[kMost], most = 0, checksum = 0, sign = 1;
  for (int i = 0; i < n; ++i) permutation[i] = count[i] = i;
  for (;;) {
    int flips = flips_of(permutation, n);
    if (flips > most) most = flips;
    checksum += sign * flips;
    if (sign == 1) {
      int swap = permutation[0];
      permutation[0] = permutation[1];
      permutation[1] = swap;
      sign = -1;
      continue;
    }
    int swap = permutation[1];
    permutation[1] = permutation[2 % n];
    permutation[2 % n] = swap;
    sign = 1;
    for (int i = 2; i < n; ++i) {
      if (count[i] != 0) {
        --count[i];
        break;
      }
      if (i == n - 1) {
        printf("%d %d\n", checksum, most);
        return 0;
      }
      count[i] = i;
      int first = permutation[0];
      for (int k = 0; k <= i; ++k) permutation[k] = permutation[k + 1];
      permutation[i + 1] = first;
    }
  }
}
