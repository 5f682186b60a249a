"""^C into a computation, and back from there."""

import gdb
from gdb_side import check, check_equal, function, go, interrupt_after, value

PROGRAM_SOURCE = "spin.c"


def run():
    interrupt_after(1.5)
    text = go("continue")
    check("SIGINT" in text or "SIGTRAP" in text or "stopped" in text, f"no interrupt: {text!r}")
    first = value("rounds")
    check(first > 0, "nothing was computed")
    go("reverse-stepi")
    go("stepi")
    check_equal("rounds after one step back and forth", first, value("rounds"))
    interrupt_after(0.5)
    go("continue")
    check(value("rounds") > first, "it did not go on")
    point = gdb.Breakpoint("begin")
    go("reverse-continue")
    check_equal("function", "begin", function())
    check_equal("rounds", 0, value("rounds"))
