"""Steps of one thread while another one runs: no further than they should, past no breakpoint."""

import time

import gdb
from gdb_side import MODE, break_at, check, check_equal, go, pc, skip, value

PROGRAM_SOURCE = "yields.c"


def run():
    if MODE == "native":
        skip("gdb record runs one thread only")
    point = break_at("hit")
    go("continue")
    me = gdb.selected_thread().num
    # Over the yield, in which the other thread runs; a user thinks meanwhile.
    sum_before = value("sum")
    for _ in range(15):
        before = pc()
        go("stepi")
        check(pc() != before, "a step that does not move")
        check_equal("thread", me, gdb.selected_thread().num)
        check(value("sum") <= sum_before + 1, "the thread ran on")
        time.sleep(0.01)
    check_equal("hits", 1, point.hit_count)
    go("continue")
    check_equal("hits", 2, point.hit_count)
    check_equal("i", 1, value("i"))
    for _ in range(3):
        go("next")
    go("continue")
    check_equal("i", 2, value("i"))
    # Another thread than the one that has stopped.
    go("thread 1")
    go("stepi")
    check_equal("thread", 1, gdb.selected_thread().num)
    go("continue")
    check_equal("i", 3, value("i"))
