"""A call that forks, with the call caught as well: its begin, the fork, its return; and back."""

from gdb_side import MODE, at_begin_of_history, check, check_equal, go, skip, value

PROGRAM_SOURCE = "forks.c"


def run():
    if MODE == "native":
        skip("gdb's own record ends at fork")
    go("catch fork")
    go("catch syscall clone")
    for _ in range(2):
        for expected in ("call to syscall clone", "forked process", "returned from syscall clone"):
            text = go("continue")
            check(expected in text, f"no '{expected}': {text!r}")
        check(value("$rax") > 0, "not in the parent")
        check("call to syscall clone" in go("reverse-continue"), "no call on the way back")
        check(at_begin_of_history(go("reverse-continue")), "another stop on the way back")
    go("delete")
    go("break child_work")
    go("break parent_work")
    go("continue")
    check_equal("result", 0, value("result"))
