"""The child followed, and the parent let go: its history begins at the fork."""

import gdb
from gdb_side import (MODE, at_begin_of_history, check, check_equal, frames, go, run_to, skip,
                      value)

PROGRAM_SOURCE = "forks.c"


def run():
    if MODE == "native":
        skip("gdb's own record ends at fork")
    go("set follow-fork-mode child")
    text = run_to("child")
    check("Detaching after fork from parent" in text, f"the parent was kept: {text!r}")
    check_equal("inferior", 2, gdb.selected_inferior().num)
    check_equal("parent's pid", 0, gdb.inferiors()[0].pid)
    check_equal("of the parent", (7, 0), (value("shared_past"), value("result")))
    run_to("child_end")
    check_equal("result", 15, value("result"))
    go("watch result")
    for before in (10, 6, 3, 1, 0):
        go("reverse-continue")
        check_equal("result", before, value("result"))
    go("delete")
    check(at_begin_of_history(go("reverse-continue")), "no begin of history")
    check("main" in frames() and "child_work" not in frames(), f"not at the fork: {frames()}")
    check(at_begin_of_history(go("reverse-stepi")), "history before its begin")
    check_equal("rax", 0, value("$rax"))
    go("finish")
    run_to("child_end")
    text = go("continue")
    check("exit with status 15" in text, f"no end: {text!r}")
    check_equal("threads", 1, len(gdb.selected_inferior().threads()))
    run_to("child", "reverse-continue")
    go("print result = 100")
    run_to("child_end")
    check_equal("what the past was", 15, value("result"))
