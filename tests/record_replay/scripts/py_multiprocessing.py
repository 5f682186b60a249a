"""Processes by fork and by spawn: pools, queues, pipes, shared values and memory."""

import multiprocessing
import multiprocessing.shared_memory
import sys


def square(number):
    return number * number


def count(value, lock, times):
    for _ in range(times):
        with lock:
            value.value += 1


def talk(pipe, memory_name):
    memory = multiprocessing.shared_memory.SharedMemory(memory_name)
    memory.buf[:5] = b"child"
    memory.close()
    pipe.send({"got": pipe.recv()})
    pipe.close()


def main():
    scale = int(sys.argv[1])
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            print(method, sum(pool.map(square, range(200 * scale))))
            print(method, sorted(pool.imap_unordered(square, range(10))))
        value, lock = context.Value("i", 0), context.Lock()
        children = [context.Process(target=count, args=(value, lock, 200)) for _ in range(3)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        print(method, value.value, [child.exitcode for child in children])
        memory = multiprocessing.shared_memory.SharedMemory(create=True, size=4096)
        here, there = context.Pipe()
        child = context.Process(target=talk, args=(there, memory.name))
        child.start()
        here.send([1, "two", 3.0])
        print(method, here.recv())
        child.join()
        print(method, bytes(memory.buf[:5]))
        memory.close()
        memory.unlink()


if __name__ == "__main__":
    main()
