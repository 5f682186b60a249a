"""All threads are there, in a live session too: their frames, registers and variables."""

import re

import gdb
from gdb_side import MODE, break_at, check, check_equal, go, skip, value

PROGRAM_SOURCE = "threads.c"


def functions_of_threads():
    found = {}
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        names, frame = [], gdb.newest_frame()
        while frame is not None:
            names.append(frame.name())
            frame = frame.older()
        found[thread.ptid[1]] = names
    return found


def run():
    if MODE == "native":
        skip("gdb record runs one thread only")
    point = break_at("own", "id == 2 && round == 3")
    go("continue")
    point.delete()
    check_equal("counter", 8, value("counter"))
    here = gdb.selected_thread().ptid
    text = go("info threads")
    check_equal("threads", 4, len(re.findall(r"Thread \d+\.\d+", text)))
    functions = functions_of_threads()
    check_equal("in work()", 3, sum("work" in names for names in functions.values()))
    check_equal("in main()", 1, sum("main" in names for names in functions.values()))
    check("count" in functions[here[1]], "another thread was said to have stopped")
    stacks = set()
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        stacks.add(value("$rsp") >> 16)
        check(value("$fs_base") != 0, "no thread pointer")
    check_equal("stacks", 4, len(stacks))
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        expected = 0
        if "work" in functions[thread.ptid[1]]:
            while gdb.selected_frame().name() != "work":
                gdb.selected_frame().older().select()
            done = {0: 3, 1: 3, 2: 2}
            expected = done[value("id")]
        check_equal("thread-local", expected, value("rounds_done"))
