"""Back over an execve, with snapshots on both sides: other code lies at the same addresses there."""

from gdb_side import MODE, at_begin_of_history, check, check_at, check_equal, go, run_to, skip, value

PROGRAM_SOURCE = "execs_other.c"


def run():
    if MODE == "native":
        skip("gdb's own record ends at execve")
    check("exit with status 0" in go("continue"), "no end")
    go("reverse-stepi")
    check(at_begin_of_history(go("reverse-continue")), "no begin of history")
    run_to("computed")
    check_equal("sum", 150000000, value("sum"))
    go("next")
    check_equal("sum", 150000007, value("sum"))
    check_at("exec")
    check("exit with status 0" in go("continue"), "no end, once more")
    check(at_begin_of_history(go("reverse-continue")), "no begin of history, once more")
    run_to("exec")
    check_equal("sum", 150000007, value("sum"))
    run_to("first", "reverse-continue")
