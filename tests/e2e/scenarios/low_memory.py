"""Back and forth over system calls that map all that lies below 2 GiB, and unmap some of it."""

from gdb_side import break_at, check, check_equal, go, pc, run_to, value

PROGRAM_SOURCE = "low_memory.c"
ROUNDS = 24


def state():
    return value("round"), value("total"), value("*(long*)&quotient")


def run():
    point = break_at("round")
    seen = []
    for _ in range(ROUNDS):
        go("continue")
        seen.append(state())
    check_equal("rounds", list(range(ROUNDS)), [number for number, _, _ in seen])
    for expected in reversed(seen[:-1]):
        go("reverse-continue")
        check_equal("state going back", expected, state())
    for expected in seen[1:]:
        go("continue")
        check_equal("state going on", expected, state())
    for expected in reversed(seen[10:-1]):
        go("reverse-continue")
        check_equal("state going back again", expected, state())
    point.delete()
    places = []
    for _ in range(40):
        places.append((pc(), value("total")))
        go("stepi")
    for expected in reversed(places):
        go("reverse-stepi")
        check_equal("place", expected, (pc(), value("total")))
    # What stores is found where all is mapped, and where it is not.
    go("watch total")
    for _ in range(30):
        before = value("total")
        text = go("reverse-continue")
        check(f"New value = {value('total')}" in text and value("total") != before, text)
    go("delete")
    run_to("round", "reverse-continue")
    check_equal("state", seen[9], state())
    go("watch changes")
    for number in reversed(range(6, 10)):
        go("reverse-continue")
        check_equal("changes", number, value("changes"))
    go("delete")
    run_to("return")
    check_equal("total", seen[-1][1], value("total"))
