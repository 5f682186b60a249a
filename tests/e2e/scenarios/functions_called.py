"""Calling functions and changing things, in history: a diversion each, and nothing stays."""

import os
import time

import gdb
from gdb_side import MODE, break_at, check, check_equal, check_same, go, run_to, skip, state, value

PROGRAM_SOURCE = "calls.c"


def run():
    if MODE == "native":
        skip("gdb record changes its history")
    run_to("call_scoped_again")
    run_to("middle_return", "reverse-continue")
    here = state("calls", "numbers")
    for _ in range(2):
        check_equal("a call", 11, value("leaf(10)"))
        check_equal("nested", 120, value("factorial(5)"))
        check_equal("of a library", 3, value('(int)strlen("abc")'))
        check("hi 3" in go('call (int)printf("hi %d\\n", 3) && (int)fflush(0)'), "no output")
        check(value("(long)malloc(20)") != 0, "no memory")
        go("set var numbers[0] = 1000")
        go("set $rax = 77")
        check_equal("rax", 77, value("$rax"))
        go("reverse-stepi")
        go("stepi")
        check_same("after the diversion", here, state("calls", "numbers"))
    check_equal("a process number", gdb.selected_inferior().pid, value("(int)getpid()"))
    now = value("(long)time(0)")
    check(abs(now - time.time()) < 3600, f"the time is {now}")
    check_equal("a protection", 0, value("(int)mprotect(&numbers, 4, 3)"))
    go("set unwindonsignal on")
    try:
        go("call (int)raise(10)")
        check(False, "a raised signal was passed")
    except gdb.error as error:
        check("signaled while in a function" in str(error), str(error))
    go("set unwindonsignal off")
    go("reverse-stepi")
    go("stepi")
    check_same("after a signal", here, state("calls", "numbers"))
    # A breakpoint at the first instruction of a called function.
    go("break *leaf")
    try:
        go("call leaf(1)")
        check(False, "the first instruction's breakpoint was passed")
    except gdb.error as error:
        check("stopped while in a function called from GDB" in str(error), str(error))
    go("delete")
    go("finish")
    run_to("call_qsort")
    run_to("middle_return", "reverse-continue")
    # A breakpoint inside of a called function.
    point = break_at("leaf")
    try:
        go("call leaf(1)")
        check(False, "the breakpoint was passed")
    except gdb.error as error:
        check("stopped while in a function called from GDB" in str(error), str(error))
    check_equal("n", 1, value("n"))
    point.delete()
    go("finish")
    run_to("call_qsort")
    run_to("middle_return", "reverse-continue")
    check_same("after the abandoned call", here, state("calls", "numbers"))
    go("generate-core-file here.core")
    check(os.path.getsize("here.core") > 100000, "no core file")
