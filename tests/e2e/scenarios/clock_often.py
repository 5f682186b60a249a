"""Calls of the clock that a recorder makes without stops: caught, with their callers, both ways."""

from gdb_side import MODE, check, check_equal, go, skip, value

PROGRAM_SOURCE = "clock.c"
CLOCK_GETTIME = 228


def callers():
    text = go("backtrace")
    for function in ("clock_gettime", "inner (", "outer (", "main ("):
        check(function in text, f"no {function} in {text!r}")


def run():
    if MODE == "native":
        skip("gdb's own record catches no system calls")
    go("break inner if round == 1500")
    go("continue")
    go("delete")
    go("catch syscall clock_gettime")
    check("call to syscall clock_gettime" in go("continue"), "no call")
    check_equal("number", CLOCK_GETTIME, value("$rax"))
    callers()
    check("returned from syscall clock_gettime" in go("continue"), "no return")
    check_equal("result", 0, value("$rax"))
    callers()
    go("delete")
    go("break inner")
    go("continue")
    check_equal("the next", 1501, value("round"))
    seen = value("now.tv_nsec")
    go("next")
    go("next")
    check(value("now.tv_nsec") != seen, "no time went by")
    later = value("now.tv_nsec")
    go("reverse-next")
    go("next")
    check_equal("the same again", later, value("now.tv_nsec"))
    go("reverse-continue")
    check_equal("back", 1501, value("round"))
    go("reverse-continue")
    check_equal("and further", 1500, value("round"))
    # Into the function, and out of it.
    go("delete")
    go("break clock_gettime")
    go("continue")
    callers()
    go("delete")
    go("finish")
    check("inner (" in go("frame"), "finish went elsewhere")
