"""`catch fork`, and the parent followed: the child is let go, forwards and again behind a way back."""

import gdb
from gdb_side import MODE, break_at, check, check_equal, frames, go, run_to, skip, value

PROGRAM_SOURCE = "forks.c"


def run():
    if MODE == "native":
        skip("gdb's own record ends at fork")
    go("catch fork")
    child = break_at("child")
    for _ in range(2):
        text = go("continue")
        check("forked process" in text, f"no stop at the fork: {text!r}")
        check("main" in frames(), "not in main")
        check_equal("shared_past", 7, value("shared_past"))
        text = go("reverse-stepi")
        check("No more" not in text, f"no way back from the fork: {text!r}")
        run_to("past", "reverse-continue")
        check_equal("shared_past", 0, value("shared_past"))
    go("continue")
    text = run_to("waited")
    check("Detaching after fork" in text, f"the child was kept: {text!r}")
    check_equal("result", 400, value("result"))
    check_equal("inferiors", 1, len(gdb.inferiors()))
    check_equal("hits in the child", 0, child.hit_count)
    go("delete")
    run_to("past", "reverse-continue")
    go("next")
    text = go("next")  # over the fork
    check("Detaching after fork" in text, f"the child was kept: {text!r}")
    check(value("child") > 0, "not in the parent")
    run_to("return")
    check_equal("result", 415, value("result"))
