"""Processes that come and go, and share much memory, of which each uses little."""

import mmap
import os
import sys

PAGE = 4096


def work(memory, number):
    memory[number * PAGE : (number + 1) * PAGE] = bytes([number % 251]) * PAGE
    before = memory[(number - 1) * PAGE] if number else 0
    os._exit((before + sum(range(50_000))) % 100)


def main():
    memory = mmap.mmap(-1, 32 << 20)
    statuses = []
    for number in range(10 * int(sys.argv[1])):
        child = os.fork()
        if child == 0:
            work(memory, number)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(sum(memory[number * PAGE] for number in range(len(statuses))), sum(statuses))


main()
