"""scheduler-locking in history: gdb hears of no thread that it has not let go."""

import gdb
from gdb_side import MODE, break_at, check_equal, go, pc, run_to, skip

PROGRAM_SOURCE = "threads.c"


def run():
    if MODE == "native":
        skip("gdb record runs one thread only")
    run_to("joined")
    point = break_at("own")
    go("reverse-continue")
    stopped = gdb.selected_thread()
    for locking in ("on", "step"):
        go(f"set scheduler-locking {locking}")
        for other in gdb.selected_inferior().threads():
            if other.ptid == stopped.ptid:
                continue
            other.switch()
            here = pc()
            for command in ("reverse-stepi", "stepi"):
                go(command)
                check_equal("thread", other.ptid, gdb.selected_thread().ptid)
            check_equal("pc", here, pc())
    stopped.switch()
    go("set scheduler-locking on")
    go("reverse-continue")
    check_equal("thread", stopped.ptid, gdb.selected_thread().ptid)
    go("set scheduler-locking replay")
    point.delete()
    run_to("joined")
