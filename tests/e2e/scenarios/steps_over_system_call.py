"""Instruction steps across a system call and its effects, both ways."""

from gdb_side import MODE, check, check_equal, frames, function, go, registers, run_to, skip


def run():
    if MODE == "native":
        skip("gdb record does not undo rax")
    run_to("write")
    go("break write")
    go("continue")
    check_equal("function", True, "write" in str(function()))
    before = []
    for _ in range(12):
        before.append(registers())
        go("stepi")
    for expected in reversed(before):
        go("reverse-stepi")
        check_equal("registers", expected, registers())
    check("main" in frames(), f"the backtrace from the C library is {frames()}")
