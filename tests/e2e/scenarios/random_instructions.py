"""stepi over rdrand, and back: the same values; its code looks as the program has it."""

import gdb

from gdb_side import (MODE, check, check_equal, go, memory_checksum, pc, registers, skip,
                      step_there_and_back, value)

PROGRAM_SOURCE = "random.c"


def run():
    with open("/proc/cpuinfo") as info:
        if " rdrand " not in info.read():
            skip("this processor has no rdrand")
    if MODE == "native":
        skip("gdb's own record does not know the instruction")
    go("tbreak draw")
    go("continue")
    check("rdrand" in gdb.execute("x/8i $pc", to_string=True), "the code shows the patch")
    areas = [(value("(long)&numbers"), 16)]
    states, _ = step_there_and_back(value("(long)&at_return"), areas, 40)
    check(value("numbers[0]") != value("numbers[1]"), "the same number twice")
    # A breakpoint on the first.
    lines = [line for line in gdb.execute("x/12i draw", to_string=True).splitlines()
             if "rdrand" in line]
    check_equal("in the code", 2, len(lines))
    site = int(lines[0].replace("=>", "").split()[0], 16)
    gdb.execute(f"break *{site}")
    go("reverse-continue")
    check_equal("at the breakpoint", site, pc())
    go("stepi")
    behind = [state for state in states if state[0]["rip"] == registers()["rip"]]
    check_equal("behind it", behind[0], (registers(), memory_checksum(areas)))
