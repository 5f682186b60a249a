"""until, advance, tbreak and return to the same place, both ways."""

from gdb_side import check_at, check_equal, go, line_of, run_to, value

PROGRAM_SOURCE = "calls.c"


def run():
    go(f"tbreak {line_of('call_scoped')}")
    go("continue")
    check_at("call_scoped")
    go(f"advance {line_of('scoped_double')}")
    check_at("scoped_double")
    check_equal("local", 11, value("local"))
    go("until")
    check_at("scoped_return")
    go(f"until {line_of('loop')}")  # no further than the caller
    check_at("call_scoped")
    run_to("loop")
    for i in (1, 2):
        run_to("loop")
        check_equal("i", i, value("i"))
    go("set exec-direction reverse")
    go("next")
    go("next")
    check_at("loop")
    check_equal("i, back", 1, value("i"))
    go(f"advance {line_of('call_scoped_again')}")
    check_at("call_scoped_again")
    go(f"tbreak {line_of('scoped_add')}")
    go("continue")
    check_at("scoped_add")
    check_equal("n", 1, value("n"))
    go("set exec-direction forward")
    go("next")
    check_at("scoped_double")
