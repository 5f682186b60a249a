"""A crash: back from it to what caused it."""

from gdb_side import MODE, check, check_at, check_equal, check_same, function, go, state, value

PROGRAM_SOURCE = "crash.c"


def run():
    text = go("continue")
    check("SIGSEGV" in text, f"no crash: {text!r}")
    check_at("crash")
    check_equal("sum", 3, value("sum"))
    crashed = state("first", "second", "third")
    go("watch second.next")
    go("reverse-continue")
    check_at("damage")
    check_equal("function", "damage", function())
    check("<third>" in go("print second.next"), "the old value is not there")
    go("delete")
    text = go("continue")
    check("SIGSEGV" in text or MODE == "native", f"the crash did not come again: {text!r}")
    check_same("the crash again", crashed, state("first", "second", "third"))
