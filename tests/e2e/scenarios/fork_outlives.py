"""A child that outlives its parent is followed to its end; one kept beside it waits for the user."""

import gdb
from gdb_side import LIVE, MODE, at_begin_of_history, check, check_equal, go, run_to, skip, value

PROGRAM_SOURCE = "daemon.c"


def run():
    if MODE == "native":
        skip("gdb's own record ends at fork")
    go("set follow-fork-mode child")
    go("set detach-on-fork off")
    run_to("begin")
    if LIVE:
        go("inferior 1")
        check("about to exit" in go("continue"), "the parent does not end")
        go("inferior 2")
        text = go("continue")
        check("take it out" in text, f"nothing is said: {text!r}")
    go("detach inferiors 1")
    run_to("return")
    check_equal("result", 6, value("result"))
    check("exit with status 0" in go("continue"), "no end")
    go("watch result")
    for before in (3, 1, 0):
        go("reverse-continue")
        check_equal("result", before, value("result"))
    go("delete")
    check(at_begin_of_history(go("reverse-continue")), "no begin of history")
    check_equal("inferior", 2, gdb.selected_inferior().num)
    run_to("return")
