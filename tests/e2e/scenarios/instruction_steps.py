"""stepi N times and reverse-stepi N times: the same instructions in reverse order."""

from gdb_side import check_equal, go, pc, registers, run_to


def run():
    run_to("call")
    seen = []
    for _ in range(60):
        seen.append((pc(), registers()))
        go("stepi")
    end = registers()
    for place, expected in reversed(seen):
        go("reverse-stepi")
        check_equal("pc", place, pc())
        check_equal("registers", expected, registers())
    go("stepi 60")
    check_equal("registers after 60 steps", end, registers())
    go("reverse-stepi 60")
    check_equal("registers 60 steps back", seen[0][1], registers())
