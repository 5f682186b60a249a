"""Back to the first instruction, and on from there."""

from gdb_side import at_begin_of_history, check, check_same, go, run_to, state


def run():
    first = state("'steps.c'::values", "'steps.c'::total")
    run_to("middle")
    for _ in range(2):
        text = go("reverse-continue")
        check(at_begin_of_history(text), f"not the begin of history: {text!r}")
        check_same("the begin", first, state("'steps.c'::values", "'steps.c'::total"))
    text = go("reverse-stepi")
    check(at_begin_of_history(text), f"a step before the begin: {text!r}")
    run_to("fill")
