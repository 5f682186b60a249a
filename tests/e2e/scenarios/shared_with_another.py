"""What another process stores to shared memory is seen, and met by a watchpoint, both ways."""

from gdb_side import at_begin_of_history, check, check_equal, go, run_to, value

PROGRAM_SOURCE = "shared.c"

# The parent adds 1 and its child 10, in turn.
COUNTS = [101, 111, 112, 122, 123, 133]


def run():
    run_to("return")
    check_equal("the end", 133, value("*counter"))
    go("watch -location *counter")
    for before in [100, *COUNTS][-2::-1]:
        text = go("reverse-continue")
        check("atchpoint" in text, f"stopped for another reason: {text!r}")
        check_equal("counter", before, value("*counter"))
    for after in COUNTS:
        text = go("continue")
        check("atchpoint" in text, f"stopped for another reason: {text!r}")
        check_equal("counter, forward again", after, value("*counter"))
    go("delete")
    check(at_begin_of_history(go("reverse-continue")), "no begin of history")
