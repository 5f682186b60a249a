"""Page snapshots in the middle of a computation are no steps, and hide nor repeat a stop."""

import os
import re
import subprocess

import gdb
from gdb_side import MODE, check, check_equal, go, pc, registers, skip, value

PROGRAM_SOURCE = "snapshots.c"
SIZE = 1 << 20


def snapshots():
    """Events, and whether they are at a string instruction."""
    dump = subprocess.run([os.environ["RCHK"], "dump", os.environ["E2E_RECORDING"]],
                          capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^ *(\d+) .* switch at (0x[0-9a-f]+), as its page snapshot$", dump, re.M)
    at_string, in_loop = [], []
    for event, address in found:
        text = gdb.execute(f"x/i {address}", to_string=True)
        if "stos" in text:
            at_string.append(int(event))
        elif "<count" in text:
            in_loop.append(int(event))
    return at_string, in_loop


def go_to(event):
    go(f"monitor goto {event}")
    gdb.execute("maintenance flush register-cache")


def step(command, times):
    states = [registers()]
    for _ in range(times):
        before = pc()
        go(command)
        check(pc() != before, f"{command} did nothing")
        states.append(registers())
    return states


def step_over(event):
    go_to(event)
    for _ in range(3):
        go("reverse-stepi")
    forward = step("stepi", 8)
    back = step("reverse-stepi", 8)
    check_equal("states", forward, back[::-1])
    check_equal("states", forward, step("stepi", 8))


def stop_in_loop(event):
    """A breakpoint where the snapshot is comes once in each round."""
    go_to(event)
    point = gdb.Breakpoint(f"*{pc():#x}")
    for _ in range(6):
        go("reverse-stepi")
    counts = []
    for command in ["continue"] * 3 + ["reverse-continue"] * 3 + ["continue"] * 2:
        go(command)
        counts.append(value("counter"))
    first = counts[0]
    check_equal("rounds", [first + i for i in [0, 1, 2, 1, 0, -1, 0, 1]], counts)
    point.delete()
    go_to(event)
    point = gdb.Breakpoint("counter", gdb.BP_WATCHPOINT)
    for _ in range(6):
        go("reverse-stepi")
    counts = []
    for command in ("continue", "continue", "continue", "reverse-continue"):
        go(command)
        counts.append(value("counter"))
    first = counts[0]
    check_equal("stores", [first, first + 1, first + 2, first + 1], counts)
    point.delete()


def stop_in_string(event):
    """The instruction that the snapshot is inside of is come to once, at its beginning."""
    go_to(event)
    last_byte = value("$rdi") - 1
    point = gdb.Breakpoint(f"*{pc():#x}")
    go("reverse-continue")
    check_equal("left at the beginning", SIZE, value("$rcx"))
    here = registers()
    go("stepi")
    go("reverse-continue")
    check_equal("the same again", here, registers())
    point.enabled = False
    go("reverse-stepi")
    point.enabled = True
    go("continue")
    check_equal("from before it", here, registers())
    go("continue")
    check_equal("left at the beginning of the next one", SIZE, value("$rcx"))
    check(here != registers(), "it is stopped at twice")
    go("reverse-continue")
    check_equal("back", here, registers())
    point.delete()
    # What was stored before the snapshot.
    old = value(f"*(unsigned char*){last_byte:#x}")
    new = value("$al") & 0xff
    check(old != new, "nothing is stored")
    point = gdb.Breakpoint(f"*(unsigned char*){last_byte:#x}", gdb.BP_WATCHPOINT)
    go("continue")
    check_equal("stored", new, value(f"*(unsigned char*){last_byte:#x}"))
    go("reverse-continue")
    check_equal("before the store", here, registers())
    check_equal("not stored yet", old, value(f"*(unsigned char*){last_byte:#x}"))
    point.delete()


def run():
    if MODE != "recorded":
        skip("there are page snapshots in recordings only, so close together")
    at_string, in_loop = snapshots()
    check(in_loop, "no snapshot is in the loop")
    for event in in_loop[:1]:
        step_over(event)
        stop_in_loop(event)
    inside = []
    for event in at_string:
        go_to(event)
        if 0 < value("$rcx") < SIZE:
            inside.append(event)
    check(inside, "no snapshot is in a string instruction")
    for event in inside[:1]:
        step_over(event)
        stop_in_string(event)
