"""A watchpoint, going back: each stop is before one store."""

from gdb_side import check, check_at, check_equal, go, run_to, value


def run():
    run_to("middle")
    go("watch total")
    for before in [204, 140, 91, 55, 30, 14, 5, 1, 0]:
        text = go("reverse-continue")
        check("atchpoint" in text, f"stopped for another reason: {text!r}")
        check_equal("total", before, value("total"))
        check_at("call")
    for after in [1, 5, 14]:
        go("continue")
        check_equal("total, forward again", after, value("total"))
