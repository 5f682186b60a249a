"""The selected thread and frame after a monitor command: the same, or where the program was moved to."""

import gdb
from gdb_side import MODE, break_at, check_equal, function, go, load_commands, skip, value

PROGRAM_SOURCE = "threads.c"


def run():
    if MODE == "native":
        skip("there is no monitor")
    load_commands()
    point = break_at("own", "id == 2 && round == 3")
    go("continue")
    point.delete()
    here = gdb.selected_thread()
    # gdb knows the registers of all; rchk was asked last for another's than the selected one's.
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        go("frame")
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        go("up")
        chosen = function()
        go("monitor when")
        check_equal("selected thread", thread.num, gdb.selected_thread().num)
        check_equal("selected frame", (1, chosen), (gdb.selected_frame().level(), function()))
    here.switch()
    go("rchk-last own[0]")
    check_equal("in", "count", function())
    check_equal("written by", (0, 3), (value("id"), value("round")))
    check_equal("not yet written", 2, value("own[0]"))
