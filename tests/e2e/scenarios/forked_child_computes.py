"""A live session whose child computes for long: ^C stops in the parent, which waits."""

import gdb
from gdb_side import check, check_equal, frames, go, interrupt_after, run_to, value

PROGRAM_SOURCE = "child_computes.c"
ONLY_LIVE = True


def run():
    run_to("begin")
    interrupt_after(1)
    text = go("continue")
    check("SIGINT" in text, f"no interrupt: {text!r}")
    check("main" in frames(), "not in the parent")
    check_equal("result", 1, value("result"))
    check_equal("threads", 1, len(gdb.selected_inferior().threads()))
    go("watch result")
    go("reverse-continue")
    check_equal("before the store", 0, value("result"))
    go("delete")
    interrupt_after(0.5)
    text = go("continue")
    check("SIGINT" in text, f"no interrupt: {text!r}")
    check("main" in frames(), "not in the parent")
    go("kill")
