"""The program ends: the session goes on, and can go back from there."""

from gdb_side import check, check_equal, go, run_to, value


def run():
    text = go("continue")
    check("exited" not in text, f"the session was lost: {text!r}")
    run_to("middle", "reverse-continue")
    check_equal("total", 285, value("total"))
    go("continue")
    run_to("fill", "reverse-continue")
    check_equal("total", 0, value("total"))
