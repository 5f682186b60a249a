"""vfork, and the parent followed: breakpoints are back behind it, and going back from within it."""

import gdb
from gdb_side import MODE, break_at, check, check_equal, frames, go, run_to, skip, value

PROGRAM_SOURCE = "vforks.c"


def run():
    if MODE == "native":
        skip("gdb's own record ends at fork")
    go("catch vfork")
    borrowed = break_at("borrowed")
    text = go("continue")
    check("vforked process" in text, f"no stop at the vfork: {text!r}")
    check("main" in frames(), "not in main")
    check_equal("threads", 1, len(gdb.selected_inferior().threads()))
    run_to("first", "reverse-continue")
    go("continue")
    text = run_to("waited")
    check("Detaching vfork" in text or "Detaching after vfork" in text, f"kept: {text!r}")
    check_equal("inferiors", 1, len(gdb.inferiors()))
    go("continue")
    check_equal("result", 3, value("result"))
    run_to("again")
    check_equal("what the child stored", 13, value("result"))
    check_equal("hits in the child", 0, borrowed.hit_count)
    go("delete")
    run_to("vfork", "reverse-continue")
    go("next")
    check("child" in go("info locals"), "not in main")
    check(value("child") > 0, "not in the parent")
    go("watch result")
    go("continue")
    check_equal("result", 3, value("result"))
    go("delete")
    run_to("return")
    go("watch result")
    for before in (13, 3, 0):  # the child's store too
        go("reverse-continue")
        check_equal("result", before, value("result"))
    check_equal("threads", 1, len(gdb.selected_inferior().threads()))
