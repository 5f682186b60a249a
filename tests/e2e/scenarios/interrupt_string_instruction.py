"""^C into long string instructions: the stop is inside of one, and is found again."""

import gdb
from gdb_side import LIVE, check, check_equal, function, go, interrupt_after, value

PROGRAM_SOURCE = "spin_string.c"
SIZE = 32 << 20


def byte(place):
    return value(f"{place}[0]"), value(f"{place}[{SIZE // 2}]"), value(f"{place}[{SIZE - 1}]")


def run():
    inside = 0
    for seconds in (0.8, 0.21, 0.17, 0.13):
        interrupt_after(seconds)
        at_end = "SIGTERM" in go("continue")
        if at_end:
            go("reverse-stepi")  # the signal's arrival is a step of its own
        left, here = value("$rcx"), value("$pc")
        inside += 0 < left < SIZE
        memory = byte("first") + byte("second") + (value("rounds"),)
        go("reverse-stepi")
        check(value("$pc") != here or value("$rcx") > left, "it did not go back")
        go("stepi")
        check_equal("pc after one step back and forth", here, value("$pc"))
        check_equal("what is left to do", left, value("$rcx"))
        check_equal("memory", memory, byte("first") + byte("second") + (value("rounds"),))
        if at_end:
            break
    check(inside > 0 or not LIVE, "no stop was inside of an instruction")
    gdb.Breakpoint("begin")
    go("reverse-continue")
    check_equal("function", "begin", function())
    check_equal("rounds", 0, value("rounds"))
