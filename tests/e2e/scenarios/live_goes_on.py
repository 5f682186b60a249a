"""Back into history, forward to its end, and on with the live program."""

from gdb_side import LIVE, check_equal, check_same, go, run_to, skip, state, value


def run():
    if not LIVE:
        skip("only live")
    run_to("middle")
    run_to("fill", "reverse-continue")
    run_to("middle")
    here = state("values", "total")
    run_to("copy", "reverse-continue")
    run_to("end")
    check_equal("local", 291, value("local"))
    run_to("middle", "reverse-continue")
    check_same("the middle", here, state("values", "total"))
    go("continue")
