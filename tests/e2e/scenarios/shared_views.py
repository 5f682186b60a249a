"""Back through a program that writes its code at one address and executes it at another."""

from gdb_side import break_at, check_equal, go, run_to, value

PROGRAM_SOURCE = "two_views.c"


def check_round(number):
    check_equal("round", number, value("round"))
    check_equal("result", number * 3, value("results[round]"))
    check_equal("the value in the writable view", number * 3, value("*(int*)(writable + 1)"))
    check_equal("the value in the executable view", number * 3, value("*(int*)(executable + 1)"))
    check_equal("the byte of the file", number + 1, value("file_view[0]"))
    check_equal("total", sum(i * 4 + 1 for i in range(number)), value("total"))


def run():
    point = break_at("round")
    for number in range(12):
        go("continue")
        check_round(number)
    for number in reversed(range(3, 11)):
        go("reverse-continue")
        check_round(number)
    for number in range(4, 9):
        go("continue")
        check_round(number)
    go("tbreak *main")
    point.enabled = False
    go("reverse-continue")
    point.enabled = True
    go("continue")
    check_round(0)
    point.delete()
    run_to("untouched")
    go("next")
    check_equal("total", sum(i * 4 + 1 for i in range(40)) + 7, value("total"))
    run_to("round", "reverse-continue")
    check_round(39)
