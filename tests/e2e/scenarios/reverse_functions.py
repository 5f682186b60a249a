"""reverse-step into a function, reverse-next over one, reverse-finish out of one."""

from gdb_side import check_at, check_equal, function, go, run_to, value

PROGRAM_SOURCE = "calls.c"


def run():
    run_to("middle_return")
    go("reverse-next")
    check_at("second_leaf")
    check_equal("calls", 1, value("calls"))
    go("reverse-next")
    check_at("first_leaf")
    check_equal("calls", 0, value("calls"))
    go("next")
    go("next")
    check_at("middle_return")
    go("reverse-step")  # into the end of leaf()
    check_equal("function", "leaf", function())
    go("reverse-step")
    check_at("leaf_return")
    go("reverse-step")
    check_at("leaf")
    go("reverse-finish")
    check_equal("function", "middle", function())
    check_at("second_leaf")
    go("reverse-finish")
    check_equal("function", "main", function())
    check_at("call_middle")
    go("next")
    check_at("call_factorial")
    check_equal("calls", 2, value("calls"))
