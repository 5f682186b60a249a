"""A program of a few instructions, from its first to its last and back."""

from gdb_side import MODE, check_equal, go, pc, skip, value

PROGRAM_SOURCE = "no_libc.S"


def run():
    if MODE == "native":
        skip("gdb record needs main")
    go("break done")
    go("continue")
    check_equal("rax", 15, value("$rax"))
    go("break loop if $rcx == 3")
    go("reverse-continue")
    check_equal("rax in the loop", 9, value("$rax"))
    go("delete")
    go("reverse-continue")
    check_equal("pc", value("(long)&_start"), pc())
