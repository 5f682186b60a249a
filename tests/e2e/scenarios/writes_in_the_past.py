"""Writing in the past opens a diversion; the recording does not change."""

from gdb_side import MODE, check_equal, check_same, go, run_to, skip, state, value


def run():
    if MODE == "native":
        skip("gdb record changes its history")
    run_to("middle")
    run_to("call", "reverse-continue")
    here = state("values", "total")
    go("set var total = 1000")
    check_equal("total, written", 1000, value("total"))
    check_equal("a call", 5, value("add(2, 3)"))
    go("reverse-stepi")
    go("stepi")
    check_equal("total, as recorded", 204, value("total"))
    check_same("after the diversion", here, state("values", "total"))
    run_to("middle")
    check_equal("total", 285, value("total"))
