"""Going back and forth arrives at the same state: registers and memory."""

from gdb_side import MODE, check_same, run_to, state


def run():
    names = ("values", "total", "text")
    marks = ["begin", "copy", "fill", "filled", "middle", "end"]
    states = {}
    for mark in marks:
        if not (MODE == "native" and mark == "begin"):
            run_to(mark)
        states[mark] = state(*names)
    for _ in range(3):
        for mark in reversed(marks[1:-1]):
            run_to(mark, "reverse-continue")
            check_same(f"{mark}, backward", states[mark], state(*names))
        for mark in marks[2:]:
            run_to(mark)
            check_same(f"{mark}, forward", states[mark], state(*names))
