"""What threads are called, where the live program stands; in history nothing is said that may be wrong."""

import gdb
from gdb_side import check_equal, go, run_to

PROGRAM_SOURCE = "names.c"
# A recording does not hold names.
ONLY_LIVE = True


def names():
    go("info threads")  # gdb asks for them
    return sorted(thread.name or "" for thread in gdb.selected_inferior().threads())


def run():
    check_equal("at the beginning", ["names"], names())
    run_to("renamed")
    check_equal("live", ["<self> & ?", "by another", "leader", "leader"], names())
    go("reverse-stepi")
    check_equal("in history", [""] * 4, names())
    run_to("end")
    check_equal("at the end", ["leader"], names())
