"""Threads that wait in calls have the registers that the program gave them, and ^C finds them so."""

import gdb
from gdb_side import LIVE, MODE, check_equal, go, interrupt_after, skip, value

PROGRAM_SOURCE = "waits.c"


def other_thread():
    here = gdb.selected_thread().num
    return next(each for each in gdb.selected_inferior().threads() if each.num != here)


def first_byte():
    return value("(int)buffer[0]")


def run():
    if MODE == "native":
        skip("gdb record runs one thread only")
    gdb.Breakpoint("look")
    go("continue")
    main = gdb.selected_thread()
    other_thread().switch()
    check_equal("where it waits", value("(long)&buffer"), value("(long)$rsi"))
    check_equal("buffer", 0, first_byte())
    main.switch()
    if LIVE:
        interrupt_after(0.7)
        go("continue")
        main.switch()
        check_equal("where it polls", value("(long)&polled"), value("(long)$rdi"))
        check_equal("revents", 0, value("(int)polled.revents"))
    go("continue")
    check_equal("buffer", ord("t"), first_byte())
    watch = gdb.Breakpoint("buffer[0]", gdb.BP_WATCHPOINT, gdb.WP_WRITE)
    for _ in range(3):
        if first_byte() == 0:
            break
        go("reverse-continue")
    check_equal("buffer in front of the call", 0, first_byte())
    watch.delete()
    go("stepi")
    check_equal("buffer behind the call", ord("t"), first_byte())
