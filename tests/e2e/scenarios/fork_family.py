"""Two children, one with a thread and a child of its own, all kept, all in one recording's order."""

import gdb
from gdb_side import MODE, at_begin_of_history, break_at, check, check_equal, go, run_to, skip, value

PROGRAM_SOURCE = "family.c"


def place():
    return gdb.selected_inferior().num, gdb.selected_frame().name(), value("result")


def run():
    if MODE == "native":
        skip("gdb's own record ends at fork")
    for setting in ("detach-on-fork off", "schedule-multiple on"):
        go(f"set {setting}")
    points = [break_at(mark) for mark in ("child", "thread", "grandchild", "parent_too", "return")]
    seen, threads = [], {}
    for _ in range(20):
        text = go("continue")
        if "about to exit" in text:
            if gdb.selected_inferior().num == 1:
                break
            continue
        seen.append(place())
        threads[place()] = sum(len(one.threads()) for one in gdb.inferiors())
    check_equal("processes", 4, sum(one.pid != 0 for one in gdb.inferiors()))
    functions = sorted(name for _, name, _ in seen)
    check_equal("stops", ["child_work"] * 4 + ["main", "thread", "thread"], functions)
    check_equal("the end", (1, "main", 6), seen[-1])
    check(max(threads.values()) > 4, f"threads of other processes were not shown: {threads}")

    # The same back.
    back = []
    for _ in seen:
        go("reverse-continue")
        back.append(place())
    check_equal("stops going back", seen[::-1], back)
    go("delete")
    check(at_begin_of_history(go("reverse-continue")), "no begin of history")
    check_equal("points", 5, len(points))

    # Each alone, while the others stay.
    go("set schedule-multiple off")
    break_at("child_end")
    ends = {}
    for inferior in [one.num for one in gdb.inferiors()][1:]:
        go(f"inferior {inferior}")
        go("continue")
        if gdb.selected_frame().name() == "child_work":
            ends[inferior] = value("result")
    check_equal("results", [1, 5], sorted(ends.values()))
    go("inferior 1")
    run_to("return")
    check_equal("main's result", 6, value("result"))
