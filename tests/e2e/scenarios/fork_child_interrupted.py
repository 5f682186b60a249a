"""^C in a child that a live session has followed, while it computes and while its parent waits."""

import gdb
from gdb_side import check, check_equal, frames, go, interrupt_after, pc, value

PROGRAM_SOURCE = "child_computes.c"
ONLY_LIVE = True


def run():
    go("set follow-fork-mode child")
    for _ in range(2):
        interrupt_after(1)
        text = go("continue")
        check("SIGINT" in text, f"no interrupt: {text!r}")
        check_equal("inferior", 2, gdb.selected_inferior().num)
    here = pc()
    go("reverse-stepi")
    go("stepi")
    check_equal("there and back", here, pc())
    # Ahead of all that was recorded: the program is let run on for it.
    before = value("work")
    for _ in range(12):
        go("stepi")
    check(value("work") > before, "no step")
    go("watch work")
    go("continue")
    check("main" in frames(), "not in the loop")
    go("kill")
