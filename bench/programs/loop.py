"""A loop over objects, dicts and arithmetic: loop.py ROUNDS."""

import sys


class Counter:
    def __init__(self):
        self.seen = {}

    def add(self, key):
        self.seen[key] = self.seen.get(key, 0) + 1


def main():
    counter, state = Counter(), 1
    for _ in range(int(sys.argv[1])):
        state = (state * 1103515245 + 12345) % 2147483648
        counter.add(state >> 20)
    print(len(counter.seen), state)


main()
