"""A watchpoint tells which thread wrote, forwards and backwards."""

import gdb
from gdb_side import MODE, break_at, check_equal, go, run_to, skip, value

PROGRAM_SOURCE = "threads.c"


def run():
    if MODE == "native":
        skip("gdb record runs one thread only")
    point = break_at("own")
    writers = []
    for _ in range(12):
        go("continue")
        writers.append(gdb.selected_thread().ptid[1])
    point.delete()
    run_to("joined")
    go("watch counter")
    found = []
    for before in range(11, -1, -1):
        go("reverse-continue")
        check_equal("counter", before, value("counter"))
        found.insert(0, gdb.selected_thread().ptid[1])
    check_equal("writers", writers, found)
    for after in range(1, 5):
        go("continue")
        check_equal("counter, forward", after, value("counter"))
        check_equal("writer", writers[after - 1], gdb.selected_thread().ptid[1])
