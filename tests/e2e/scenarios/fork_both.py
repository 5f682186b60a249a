"""Both processes kept, the parent first: each has its own history, breakpoints, memory, threads."""

import gdb
from gdb_side import (MODE, at_begin_of_history, break_at, check, check_at, check_equal, frames, go,
                      run_to, skip, value)

PROGRAM_SOURCE = "forks.c"


def pids():
    return [inferior.pid for inferior in gdb.inferiors() if inferior.pid != 0]


def run():
    if MODE == "native":
        skip("gdb's own record ends at fork")
    go("set detach-on-fork off")
    run_to("parent")
    check_equal("processes", 2, len(pids()))
    check_equal("current", 1, gdb.selected_inferior().num)
    check_equal("threads", 2, go("info threads").count("Thread "))

    go("inferior 2")
    check("main" in frames() and "child_work" not in frames(), f"not at the fork: {frames()}")
    run_to("child_end")
    check_equal("child's result", 15, value("result"))
    go("inferior 1")
    check_at("parent")
    check_equal("parent's result", 0, value("result"))
    run_to("waited")
    check_equal("parent's result", 400, value("result"))
    go("inferior 2")
    check_at("child_end")
    check_equal("child's result", 15, value("result"))

    # Back in one, then in the other.
    go("watch result")
    go("reverse-continue")
    check_equal("child's result", 10, value("result"))
    go("delete")
    check(at_begin_of_history(go("reverse-continue")), "no begin of the child's history")
    go("inferior 1")
    check_at("waited")
    run_to("past", "reverse-continue")
    check_equal("shared_past", 0, value("shared_past"))
    check_equal("processes", 2, len(pids()))

    # Over the fork once more: the child is there already.
    run_to("parent")
    check_equal("processes", 2, len(pids()))

    # A breakpoint of both is hit in the one that runs.
    points = [break_at("child"), break_at("waited")]
    go("inferior 2")
    go("continue")
    check_at("child")
    go("inferior 1")
    go("continue")
    check_at("waited")
    go("delete")
    check_equal("points", 2, len(points))

    go("detach inferiors 2")
    check_equal("processes", 1, len(pids()))
    run_to("return")
    check_equal("result", 415, value("result"))
    run_to("past", "reverse-continue")
    run_to("parent")
    check_equal("processes", 2, len(pids()))
    go("kill inferiors 3")
    check_equal("processes", 1, len(pids()))
    run_to("return")
