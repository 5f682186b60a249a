"""A child of vfork kept beside its parent: breakpoints of each, and a child that never executes."""

import gdb
from gdb_side import (MODE, at_begin_of_history, break_at, check, check_at, check_equal, frames, go,
                      pc, run_to, skip, value)

PROGRAM_SOURCE = "vforks.c"


def run():
    if MODE == "native":
        skip("gdb's own record ends at fork")
    run_to("waited")  # past the first vfork
    go("set detach-on-fork off")
    go("set follow-fork-mode child")
    run_to("borrowed_end")
    check_equal("inferior", 2, gdb.selected_inferior().num)
    check_equal("result", 13, value("result"))
    text = go("continue")
    check("exit with status 13" in text, f"no end: {text!r}")
    text = go("stepi")
    check("exit with status 13" in text, f"something behind its end: {text!r}")
    end = pc()
    go("monitor goto end")
    go("maintenance flush register-cache")
    check_equal("its end", end, pc())
    go("watch result")
    go("reverse-continue")
    check_at("borrowed")
    check_equal("result", 3, value("result"))
    go("delete")
    check(at_begin_of_history(go("reverse-continue")), "no begin of history")
    check("main" in frames(), f"not at the vfork: {frames()}")
    check_equal("threads of the child", 1, len(gdb.selected_inferior().threads()))

    # The parent goes through what the child did, and stops at no breakpoint of the child's.
    go("set schedule-multiple on")
    child = break_at("borrowed")
    again = break_at("again")
    go("continue")
    check_equal("inferior", 2, gdb.selected_inferior().num)
    check_at("borrowed")
    check_equal("hits", (1, 0), (child.hit_count, again.hit_count))
    text = go("continue")
    check("exit with status 13" in text, f"no end: {text!r}")
    go("continue")
    check_at("again")
    check_equal("inferior", 1, gdb.selected_inferior().num)
    check_equal("result", 13, value("result"))
    check_equal("hits", (1, 1), (child.hit_count, again.hit_count))
    check_equal("threads of the parent", 1, len(gdb.selected_inferior().threads()))
