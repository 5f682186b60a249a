"""The thread that is looked at is the one that is stepped back, and each shows its own registers."""

import re

import gdb
from gdb_side import (MODE, break_at, check, check_equal, go, load_commands, pc, registers, skip)

PROGRAM_SOURCE = "threads.c"


def all_registers():
    seen = {}
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        seen[thread.ptid] = registers()
    return seen


def run():
    if MODE == "native":
        skip("gdb record runs one thread only")
    load_commands()
    break_at("own", "id == 2 && round == 3")
    go("continue")  # and the breakpoint stays: gdb steps this thread off it first
    stopped = gdb.selected_thread()
    for other in gdb.selected_inferior().threads():
        if other.ptid == stopped.ptid:
            continue
        other.switch()
        before = pc()
        go("reverse-stepi")
        check_equal("thread", other.ptid, gdb.selected_thread().ptid)
        check(pc() != before, f"thread {other.num} did not move")
        go("stepi")
        check_equal("thread", other.ptid, gdb.selected_thread().ptid)
        check_equal("pc", before, pc())
    event = int(re.search(r"position (\d+)", go("monitor when")).group(1))
    go(f"monitor goto {event}")
    expected = all_registers()
    for chosen in gdb.selected_inferior().threads():
        chosen.switch()
        registers()
        go(f"monitor goto {event}")
        check_equal("registers of all threads", expected, all_registers())
