"""Conditional breakpoints in both directions, with many false hits."""

from gdb_side import check_equal, go, run_to, value

PROGRAM_SOURCE = "many_hits.c"


def run():
    go("break hit if i == 15000")
    go("continue")
    check_equal("i", 15000, value("i"))
    counter = value("counter")
    go("delete")
    run_to("return")
    go("break hit if i == 15000")
    go("reverse-continue")
    check_equal("i, backward", 15000, value("i"))
    check_equal("counter", counter, value("counter"))
    go("delete")
    go("break hit if i == 700")
    go("reverse-continue")
    check_equal("i, further back", 700, value("i"))
    check_equal("counter", sum(i & 3 for i in range(700)), value("counter"))
