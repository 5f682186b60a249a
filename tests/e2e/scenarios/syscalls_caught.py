"""catch syscall: where a call begins and where it returns, forwards and backwards."""

from gdb_side import MODE, break_at, check, check_at, check_equal, go, run_to, skip, value

PROGRAM_SOURCE = "calls.c"
WRITE = 1


def expect(command, words):
    text = go(command)
    check(words in text, f"no stop {words}: {text!r}")


def run():
    if MODE == "native":
        skip("gdb's own record catches no system calls")
    go("catch syscall write")
    expect("continue", "call to syscall write")
    check_equal("number", WRITE, value("$rax"))
    size = value("$rdx")
    expect("continue", "returned from syscall write")
    check_equal("result", size, value("$rax"))
    expect("reverse-continue", "call to syscall write")
    check_equal("number", WRITE, value("$rax"))
    check("No more" in go("reverse-continue"), "a call too many")
    expect("continue", "call to syscall write")
    expect("continue", "returned from syscall write")
    run_to("return")
    expect("reverse-continue", "returned from syscall write")
    go("stepi")
    expect("reverse-continue", "returned from syscall write")
    go("delete")
    # A breakpoint between the end and the call comes first.
    go("catch syscall")
    run_to("return")
    point = break_at("write")
    expect("reverse-continue", "returned from")
    expect("reverse-continue", "call to")
    go("reverse-continue")
    check_at("write")
    point.delete()
