// build: -O0 -no-pie
int counter;
int last;

int hit(int i) {
  counter += i & 3;  // mark: hit
  return counter;
}

int main(void) {
  for (int i = 0; i < 20000; ++i) last = hit(i);
  return 0;  // mark: return
}
