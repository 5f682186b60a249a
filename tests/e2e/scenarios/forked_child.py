"""A process with a child: its own history is whole, whatever the child does meanwhile."""

from gdb_side import MODE, check, check_equal, go, run_to, skip, value

PROGRAM_SOURCE = "forks.c"


def run():
    if MODE == "native":
        skip("gdb's own record ends at fork")
    run_to("waited")
    check_equal("result", 400, value("result"))
    go("watch result")
    for before in (300, 200, 100, 0):
        go("reverse-continue")
        check_equal("result", before, value("result"))
    go("delete")
    run_to("past", "reverse-continue")
    check_equal("past", 0, value("shared_past"))
    run_to("return")
    check_equal("result", 415, value("result"))
