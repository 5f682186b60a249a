"""A child of vfork followed: through its parent's memory, and through execve, both ways."""

import gdb
from gdb_side import (MODE, at_begin_of_history, break_at, check, check_at, check_equal, frames, go,
                      run_to, skip, value)

PROGRAM_SOURCE = "vforks.c"


def run():
    if MODE == "native":
        skip("gdb's own record ends at fork")
    go("set follow-fork-mode child")
    run_to("exec")
    check_equal("inferior", 2, gdb.selected_inferior().num)
    check_equal("generation", 1, value("generation"))
    check_equal("threads", 1, len(gdb.selected_inferior().threads()))
    text = run_to("second")
    check("Detaching vfork parent" in text, f"the parent was kept: {text!r}")
    check("executing new program" in text, f"no execve: {text!r}")
    check_equal("generation", 0, value("generation"))
    run_to("child_return")
    check_equal("generation", 2, value("generation"))
    point = break_at("exec")
    text = go("reverse-continue")
    check("executing new program" in text, f"no execve on the way back: {text!r}")
    check_at("exec")
    check_equal("generation", 1, value("generation"))
    point.delete()
    check(at_begin_of_history(go("reverse-continue")), "no begin of history")
    check("main" in frames(), f"not at the vfork: {frames()}")
    run_to("child_return")
    text = go("continue")
    check("exit with status 3" in text, f"no end: {text!r}")
