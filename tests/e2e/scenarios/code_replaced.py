"""Back from other code at the same place, by snapshots that were taken in both."""

from gdb_side import MODE, at_begin_of_history, check, check_equal, go, run_to, skip, value

PROGRAM_SOURCE = "code_replaced.c"


def run():
    if MODE == "native":
        skip("too slow")
    run_to("return")
    go("watch sums[1]")
    go("reverse-continue")
    go("reverse-stepi 50")
    go("delete")
    go("watch sums[0]")
    go("reverse-continue")
    check_equal("before the first sum", 0, value("sums[0]"))
    go("reverse-stepi 30")
    go("delete")
    check(at_begin_of_history(go("reverse-continue")), "no begin of history")
    run_to("second")
    check_equal("the first sum", 1000000000, value("sums[0]"))
    run_to("return")
    check_equal("the second sum", 3000000000, value("sums[1]"))
