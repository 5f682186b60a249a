"""execve: gdb is told of the new program, and of the old one going back."""

from gdb_side import MODE, break_at, check, check_at, check_equal, go, run_to, skip, value

PROGRAM_SOURCE = "execs.c"


def run():
    if MODE == "native":
        skip("gdb's own record ends at execve")
    run_to("exec")
    go("catch exec")
    check("exec'd" in go("continue"), "no stop at execve")
    run_to("second")
    check_equal("generation", 0, value("generation"))
    go("delete")
    point = break_at("exec")
    text = go("reverse-continue")
    check("executing new program" in text, f"gdb was not told: {text!r}")
    check_at("exec")
    check_equal("generation", 1, value("generation"))
    point.delete()
    run_to("return")
    check_equal("generation", 2, value("generation"))
