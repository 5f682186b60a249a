"""The time stamp counter, read often: lines and instructions around RDTSC, both ways."""

from gdb_side import MODE, check, check_equal, function, go, skip, value

PROGRAM_SOURCE = "counter.c"


def line():
    return int(go("info line *$pc").split("Line ")[1].split()[0])


def back_to(wanted):
    """By lines; gdb stops in one twice that has two entries in its table."""
    for _ in range(8):
        go("reverse-next")
        check_equal("function", "inner", function())
        if line() == wanted:
            return
    check(False, f"line {wanted} was not reached")


def run():
    if MODE == "native":
        skip("gdb's own record does not know all instructions of libraries")
    go("break inner if round == 900")
    go("continue")
    go("delete")
    begin = line()
    for offset in range(1, 5):
        go("next")
        check_equal("line", begin + offset, line())
        check_equal("function", "inner", function())
    check(value("second") > value("first") > 0, "the counter stands still")
    first, second = value("first"), value("second")
    back_to(begin + 3)
    back_to(begin + 1)
    check_equal("the same", first, value("first"))
    back_to(begin)
    # By instructions, there and back: never out of the function.
    places = [value("$pc")]
    while line() < begin + 2:
        go("stepi")
        check_equal("function", "inner", function())
        places.append(value("$pc"))
    for place in reversed(places[:-1]):
        go("reverse-stepi")
        check_equal("pc", place, value("$pc"))
    go("finish")
    check_equal("function", "main", function())
    go("reverse-step")
    check_equal("function", "inner", function())
    check_equal("the same", second, value("second"))
