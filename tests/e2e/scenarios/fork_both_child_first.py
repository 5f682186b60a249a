"""Both processes kept, the child first; then both at once, in the order of the recording."""

import gdb
from gdb_side import (MODE, at_begin_of_history, break_at, check, check_at, check_equal, go, run_to,
                      skip, value)

PROGRAM_SOURCE = "forks.c"


def run():
    if MODE == "native":
        skip("gdb's own record ends at fork")
    go("set detach-on-fork off")
    go("set follow-fork-mode child")
    run_to("child")
    check_equal("current", 2, gdb.selected_inferior().num)
    check_equal("shared_past", 7, value("shared_past"))
    go("inferior 1")
    check_equal("result", 0, value("result"))
    go("set schedule-multiple on")
    check(at_begin_of_history(go("reverse-continue")), "no begin of history")
    go("set follow-fork-mode parent")

    break_at("child_end")
    break_at("waited")
    break_at("return")
    seen = []
    for _ in range(8):
        text = go("continue")
        if "about to exit" in text:
            seen.append("end")
            if gdb.selected_inferior().num == 1:
                break
        else:
            seen.append(value("result"))
    # The child's end comes before the parent's wait returns.
    check_equal("stops", [15, "end", 400, 415, "end"], seen)
    for expected in (415, 400, 15):
        go("reverse-continue")
        check_equal("result", expected, value("result"))
    check_at("child_end")
    check_equal("current", 2, gdb.selected_inferior().num)
    go("set schedule-multiple off")
    go("delete")
    run_to("child", "reverse-continue")
