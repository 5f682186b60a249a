"""Threads with locks, conditions, queues, events, timers and pools."""

import concurrent.futures
import queue
import sys
import threading
import time

scale = int(sys.argv[1])
lock = threading.Lock()
total = 0


def add(count):
    global total
    for _ in range(count):
        with lock:
            total += 1


threads = [threading.Thread(target=add, args=(2000 * scale,)) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("total", total)

jobs, results = queue.Queue(4), queue.Queue()


def work():
    while (job := jobs.get()) is not None:
        results.put((job, sum(i * i for i in range(job))))


workers = [threading.Thread(target=work) for _ in range(3)]
for worker in workers:
    worker.start()
for job in range(100 * scale):
    jobs.put(job)
for worker in workers:
    jobs.put(None)
for worker in workers:
    worker.join()
found = dict(results.get() for _ in range(100 * scale))
print("results", len(found), sum(found.values()))

barrier, order = threading.Barrier(3), []


def meet(number):
    for step in range(5):
        barrier.wait()
        with lock:
            order.append((step, number))
        barrier.wait()


with concurrent.futures.ThreadPoolExecutor(3) as pool:
    list(pool.map(meet, range(3)))
print("steps", [step for step, _ in order])

event = threading.Event()
timer = threading.Timer(0.02, event.set)
timer.start()
print("event", event.wait(30), "timeout", threading.Event().wait(0.005))
local = threading.local()
local.value = 5
print("local", concurrent.futures.ThreadPoolExecutor(1).submit(
    lambda: hasattr(local, "value")).result())
start = time.monotonic()
time.sleep(0.01)
assert time.monotonic() - start >= 0.01
