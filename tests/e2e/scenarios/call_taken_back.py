"""A call that was stopped at before it began: rcx and r11 there are the program's, not the call's."""

import gdb

from gdb_side import MODE, check, check_equal, go, pc, registers, skip, value

PROGRAM_SOURCE = "instructions.c"


def run():
    if MODE == "native":
        skip("gdb's own record stops behind the instruction")
    go("tbreak special")
    go("continue")
    go("catch syscall")
    go("continue")
    go("delete")
    check("syscall" in gdb.execute("x/i $pc", to_string=True), "it is not at the call")
    go("monitor when")  # makes the place one of history
    call = pc()
    go("stepi")
    go("reverse-stepi")
    check_equal("pc", call, pc())
    check(value("$rcx") != call + 2, "rcx is the call's")
    here = registers()
    go("reverse-stepi")
    go("stepi")
    check_equal("registers", here, registers())
