"""Calls by pointer, through the linkage table and back from a library, stepped both ways."""

from gdb_side import break_at, check, check_at, check_equal, frames, function, go, run_to, value

PROGRAM_SOURCE = "calls.c"


def run():
    run_to("call_strlen")
    go("reverse-step")
    check_equal("function", "leaf", function())
    check_equal("n", 41, value("n"))
    run_to("call_pointer", "reverse-continue")
    go("step")
    check_at("leaf")
    go("finish")
    check_at("call_pointer")
    check_equal("rax", 42, value("$rax"))
    run_to("call_qsort")
    point = break_at("compare")
    pairs = []
    for _ in range(6):
        go("continue")
        pairs.append((value("*(int*)a"), value("*(int*)b")))
    for pair in pairs[-2::-1]:
        go("reverse-continue")
        check_equal("compared", pair, (value("*(int*)a"), value("*(int*)b")))
    check_at("compare")
    check("main" in frames(), "no way back to main")
    point.delete()
    run_to("call_scoped")
    go("reverse-next")
    check_at("call_qsort")
    check_equal("unsorted", 5, value("numbers[0]"))
    go("next")
    check_equal("sorted", 1, value("numbers[0]"))
