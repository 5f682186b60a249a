"""stepi over calls of the vsyscall page and the vDSO, and back: the same time, the same places."""

import gdb

from gdb_side import MODE, check, check_equal, go, skip, step_there_and_back, value

PROGRAM_SOURCE = "old_calls.c"
PAGE = 0xffffffffff600000


def run():
    with open("/proc/self/maps") as maps:
        if "[vsyscall]" not in maps.read():
            skip("this kernel has no vsyscall page")
    if MODE == "native":
        skip("gdb's own record does not know them")
    go("tbreak read_time")
    go("continue")
    areas = [(value("(long)&day"), 16), (value("(long)&now"), 16)]
    _, places = step_there_and_back(value("(long)&at_return"), areas, 8000)
    check_equal("calls of the page", [PAGE, PAGE + 0x400], [p for p in places if p >= PAGE])
    # In a function of the vDSO, which has a name.
    gdb.execute("break *__vdso_clock_gettime")
    go("reverse-continue")
    check("clock_gettime" in gdb.execute("x/i $pc", to_string=True), "the vDSO has no names")
    check("read_time" in gdb.execute("backtrace", to_string=True), "no backtrace from the vDSO")
