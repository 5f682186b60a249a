"""A breakpoint is hit in any thread, forwards and backwards, in one order."""

import gdb
from gdb_side import MODE, break_at, check_equal, go, skip, value


def visit(command, count):
    seen = []
    for _ in range(count):
        go(command)
        seen.append((gdb.selected_thread().ptid[1], value("id"), value("round"),
                     value("counter")))
    return seen


PROGRAM_SOURCE = "threads.c"


def run():
    if MODE == "native":
        skip("gdb record runs one thread only")
    break_at("own")
    forward = visit("continue", 12)
    check_equal("ids", [0, 1, 2] * 4, [each[1] for each in forward])
    check_equal("counters", list(range(12)), [each[3] for each in forward])
    check_equal("backward", forward[-2::-1], visit("reverse-continue", 11))
    check_equal("forward again", forward[1:], visit("continue", 11))
