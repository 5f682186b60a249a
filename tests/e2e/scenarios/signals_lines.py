"""Lines, functions and handlers: next, step, finish and their reverse forms over signals."""

from gdb_side import (MODE, break_at, check, check_at, check_equal, frames, function, go, line_of, line,
                      run_to, skip, value)

PROGRAM_SOURCE = "signals.c"


def run():
    if MODE == "native":
        skip("gdb record stops at sigreturn")
    go("handle SIGUSR1 SIGUSR2 SIGSEGV nostop noprint pass")
    run_to("raise1")
    go("next")
    check_at("raised1")
    check_equal("handled", 1, value("handled[10]"))
    go("reverse-next")
    check_at("raise1")
    check_equal("handled", 0, value("handled[10]"))
    point = break_at("handler")
    go("continue")
    check_equal("in the handler", "handler", function())
    check_equal("who was interrupted", True, "twice" in frames())
    check("No more" in go("reverse-continue"), "a handler before the first signal")
    go("continue")
    point.delete()
    go("finish")  # out of the handler, through its return
    check_equal("back in the program", False, "handler" in frames())
    check_equal("handled", 1, value("handled[10]"))
    run_to("sum")
    go("reverse-next")
    check_at("twice")
    run_to("fault")
    go("advance " + str(line_of("jumped")))
    check_equal("line", line_of("jumped"), line())
