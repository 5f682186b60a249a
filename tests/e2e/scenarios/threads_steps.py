"""One thread is stepped back and forward while the others run as they did."""

import gdb
from gdb_side import (MODE, break_at, check, check_equal, check_same, go, pc, registers, skip,
                      state, value)

PROGRAM_SOURCE = "threads.c"


def run():
    if MODE == "native":
        skip("gdb record runs one thread only")
    point = break_at("own", "id == 1 && round == 3")
    go("continue")
    point.delete()
    me = gdb.selected_thread()
    here = state("counter", "own", "turn")
    seen = []
    for _ in range(600):  # through the wait for its turn, in which others run
        seen.append((pc(), registers()))
        go("reverse-stepi")
        check_equal("thread", me.ptid, gdb.selected_thread().ptid)
    check(value("counter") < 7, "the others did not go back")
    for expected_pc, expected in reversed(seen):
        go("stepi")
        check_equal("thread", me.ptid, gdb.selected_thread().ptid)
        check_equal("pc", expected_pc, pc())
        check_equal("registers", expected, registers())
    check_same("there and back", here, state("counter", "own", "turn"))
    # Another thread, which is in the middle of a call.
    other = [each for each in gdb.selected_inferior().threads()
             if each.ptid not in (me.ptid, (me.ptid[0], me.ptid[0], 0))][0]
    other.switch()
    before = pc(), registers()
    go("reverse-stepi")
    check_equal("thread", other.ptid, gdb.selected_thread().ptid)
    check(pc() != before[0], "the other thread did not move")
    go("stepi")
    check_equal("the other thread", before[0], pc())
    # At the instruction of the call that it waits in, which overwrites rcx and r11.
    differing = {name for name, held in registers().items() if held != before[1][name]}
    check(differing <= {"rcx", "r11"}, f"at the call, {differing} differ")
