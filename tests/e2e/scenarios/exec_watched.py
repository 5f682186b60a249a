"""Watchpoints and single steps over an execve: gdb is told of it, and what is other memory is no hit."""

import gdb
from gdb_side import MODE, check, check_equal, function, go, pc, skip, value

PROGRAM_SOURCE = "execs.c"


def run():
    if MODE == "native":
        skip("gdb's own record ends at execve")
    catch = gdb.Breakpoint("second")
    go("continue")
    catch.delete()
    address = value("(long)&generation")
    go("catch exec")
    go("reverse-continue")
    go("continue")
    begin = pc()
    # Step by step: to the call in the old program, and to the new one again.
    check("executing new program" in go("reverse-stepi"), "gdb was not told, one step back")
    check("execve" in function(), f"not in the old program: {function()}")
    check_equal("its generation", 1, value("generation"))
    check("executing new program" in go("stepi"), "gdb was not told, one step forward")
    check_equal("at the first instruction", begin, pc())
    go("delete")
    # The new program's 0 is no store, neither to a watchpoint of gdb's own nor to one of rchk's.
    for hardware in (0, 1):
        go("stepi 3")
        go(f"set can-use-hw-watchpoints {hardware}")
        go(f"watch *(int*){address:#x}")
        text = go("reverse-continue")
        check("executing new program" in text, f"gdb was not told: {text!r}")
        check("New value = 0" in text and "Old value = 1" in text, f"not the store: {text!r}")
        check_equal("function", "main", function())
        check_equal("in front of the store", 0, value("generation"))
        go("delete")
        go("catch exec")
        go("continue")
        check_equal("at the first instruction again", begin, pc())
        go("delete")
