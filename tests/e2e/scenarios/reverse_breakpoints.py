"""Every hit of a breakpoint, backwards and forwards, and the begin of history."""

from gdb_side import at_begin_of_history, check, check_equal, function, go, run_to, value


def run():
    run_to("middle")
    go("break add")
    for i in range(9, -1, -1):
        go("reverse-continue")
        check_equal("function", "add", function())
        check_equal("b", i * i, value("b"))
    text = go("reverse-continue")
    check(at_begin_of_history(text), f"not the begin of history: {text!r}")
    for i in range(10):
        go("continue")
        check_equal("b, forward", i * i, value("b"))
