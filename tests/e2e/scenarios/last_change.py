"""`monitor last` and rchk-last: back to what changed memory last, however long ago."""

import re

import gdb

from gdb_side import check, check_at, check_equal, go, load_commands, run_to, value

PROGRAM_SOURCE = "seldom.c"


def last_touch(name):
    """The positions between which a variable's page changed last, as texts."""
    text = go(f"monitor touched {value(f'(long)&{name}'):#x}")
    found = re.search(r"between (\S+) and (\S+), and did not since", text)
    check(found, text)
    return found.groups()


def run():
    load_commands()
    run_to("end")
    # Told without running: a page that was dirtied until now, one that was not for long.
    here = last_touch("often")
    check(last_touch("early") != here, "the page of early seems to have changed just now")
    text = go("monitor when")
    check("position" in text, text)
    # Twice, then once, then never before that.
    for mark, before in [("twice", 1), ("once", 0)]:
        go("rchk-last twice.value")
        check_at(mark)
        check_equal("twice.value", before, value("twice.value"))
        go("stepi")
        check_equal("after it", before + 1, value("twice.value"))
        go("reverse-stepi")
    text = go("rchk-last twice.value")
    check("no instruction changed 8 bytes" in text, text)
    check_at("once")
    # From the end again: what was written long ago, and never.
    go("monitor goto end")
    text = go("rchk-last never.value")
    check("no instruction changed" in text, text)
    go("rchk-last early.value")
    check_at("early")
    check_equal("early.value", 0, value("early.value"))
    # The same without the index, and by a watchpoint.
    check("run also through" in go("monitor index off"), "the index is not off")
    go("monitor goto end")
    go("rchk-last early.value")
    check_at("early")
    check("pass over" in go("monitor index on"), "the index is not on")
    go("monitor goto end")
    watch = gdb.Breakpoint("early.value", gdb.BP_WATCHPOINT)
    go("reverse-continue")
    check_at("early")
    check_equal("early.value", 0, value("early.value"))
    watch.delete()
    # Places by time, and bookmarks.
    go("monitor bookmark here")
    check("position" in go("monitor goto 50%"), "no place in the middle")
    go("monitor goto here")
    check_at("early")
    for wrong in ("goto nowhere", "goto 101%", "last", "last 0x1000", "touched", "index"):
        check("usage" in go(f"monitor {wrong}"), f"no help with monitor {wrong}")
