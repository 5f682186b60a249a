"""Classes, json, regular expressions, hashes, random numbers and time, as scripts use them."""

import hashlib
import json
import os
import random
import re
import sys
import time


class Node:
    def __init__(self, key):
        self.key, self.left, self.right = key, None, None

    def insert(self, key):
        side = "left" if key < self.key else "right"
        child = getattr(self, side)
        if child is None:
            setattr(self, side, Node(key))
        else:
            child.insert(key)

    def depth(self):
        return 1 + max((child.depth() for child in (self.left, self.right) if child), default=0)


def main():
    scale = int(sys.argv[1])
    start = time.time()
    # Seeded by the system: what a replay has to repeat.
    values = [random.randrange(10**6) for _ in range(20000 * scale)]
    root = Node(values[0])
    for value in values[1:5000]:
        root.insert(value)
    text = json.dumps({"values": values, "names": [f"n{value}" for value in values]})
    back = json.loads(text)
    words = re.findall(r"n(\d+)", text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    print(root.depth(), len(back["values"]), len(words), digest, os.urandom(8).hex())
    print(sorted(set(values))[:5], hash("a string"), time.time() - start > 0, time.time_ns())
    print("done")


main()
