"""reverse-next, reverse-step and reverse-finish, line by line."""

from gdb_side import check_at, check_equal, function, go, run_to, value


def run():
    run_to("middle")
    go("reverse-next")
    check_at("fill")
    go("next")
    check_at("middle")
    go("reverse-step")
    check_equal("function", "fill", function())
    run_to("call", "reverse-continue")
    check_equal("i", 9, value("i"))
    go("reverse-next")
    check_at("store")
    check_equal("the value not stored yet", 0, value("values[9]"))
    run_to("add", "reverse-continue")
    check_equal("b of the call before", 64, value("b"))
    go("reverse-finish")
    check_at("call")
    check_equal("total before the call", 140, value("total"))
    go("next")
    go("next")
    check_equal("total after it", 204, value("total"))
