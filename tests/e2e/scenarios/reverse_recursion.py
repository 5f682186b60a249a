"""Steps in a recursive function, both ways, stay in their frames."""

from gdb_side import break_at, check_at, check_equal, frames, go, value

PROGRAM_SOURCE = "calls.c"


def depth():
    return frames().count("factorial")


def run():
    point = break_at("factorial_return", "n == 3")
    go("continue")
    point.delete()
    check_equal("depth", 3, depth())
    check_equal("below", 2, value("below"))
    go("reverse-next")  # over two deeper calls
    check_at("factorial_call")
    check_equal("depth", 3, depth())
    go("next")
    check_at("factorial_return")
    check_equal("depth", 3, depth())
    go("finish")
    check_equal("depth, finished", 2, depth())
    go("reverse-step")
    check_equal("depth, back in", 3, depth())
    check_equal("n", 3, value("n"))
    go("up")
    check_equal("n, above", 4, value("n"))
