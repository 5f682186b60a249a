"""Watchpoints on locals: the end of their scope, conditions, software and hardware ones."""

from gdb_side import check, check_at, check_equal, go, line, line_of, run_to, value

PROGRAM_SOURCE = "calls.c"


def run():
    run_to("scoped_begin")
    go("next")
    go("watch local")
    go("continue")
    check_equal("added", 11, value("local"))
    go("continue")
    check_equal("doubled", 22, value("local"))
    text = go("continue")
    check("atchpoint" in text and "deleted" in text, f"the scope's end was missed: {text!r}")
    run_to("scoped_double", "reverse-continue")
    check_equal("n", 1, value("n"))
    go("watch -l local if local == 1")
    go("reverse-continue")
    check_at("scoped_add")
    go("delete")
    run_to("call_scoped_again")
    go("set can-use-hw-watchpoints 0")
    run_to("scoped_begin")
    go("watch local")
    go("continue")
    go("continue")
    check_equal("by software", 12, value("local"))
    check("oftware" in go("info watchpoints") or "watchpoint" in go("info watchpoints"), "gone")
    go("delete")
    go("set can-use-hw-watchpoints 1")
    go("rwatch numbers[2]")
    run_to("call_middle", "reverse-continue") if line() == line_of("call_middle") else None
