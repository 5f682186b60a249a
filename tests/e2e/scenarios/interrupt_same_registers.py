"""^C into a loop whose rounds memory alone tells apart, and back from there."""

import gdb
from gdb_side import check, check_equal, function, go, interrupt_after, value

PROGRAM_SOURCE = "spin_global.c"


def run():
    reached = 0
    for seconds in (1.0, 0.3, 0.2):
        interrupt_after(seconds)
        go("continue")
        rounds, here = value("rounds"), value("$pc")
        check(rounds > reached + 1_000_000, f"only {rounds - reached} rounds")
        reached = rounds
        for _ in range(3):
            go("reverse-stepi")
        check(rounds - value("rounds") <= 1, "three steps back are one round at most")
        for _ in range(3):
            go("stepi")
        check_equal("rounds after three steps back and forth", rounds, value("rounds"))
        check_equal("pc", here, value("$pc"))
    gdb.Breakpoint("begin")
    go("reverse-continue")
    check_equal("function", "begin", function())
    check_equal("rounds", 0, value("rounds"))
