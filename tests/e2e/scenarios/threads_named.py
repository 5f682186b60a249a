"""What threads are called, now and at any time before."""

import gdb
from gdb_side import MODE, check_equal, go, run_to, skip

PROGRAM_SOURCE = "names.c"
RENAMED = ["<self> & ?", "by another", "leader", "leader"]


def names():
    go("info threads")  # gdb asks for them
    return sorted(thread.name or "" for thread in gdb.selected_inferior().threads())


def run():
    if MODE == "native":
        skip("gdb record runs one thread only")
    check_equal("at the beginning", ["names"], names())
    run_to("renamed")
    check_equal("renamed", RENAMED, names())
    go("reverse-stepi")
    check_equal("in history", RENAMED, names())
    run_to("rename", "reverse-continue")
    check_equal("not yet by another", ["<self> & ?", "leader", "leader", "names"], names())
    run_to("lead", "reverse-continue")
    names()
    check_equal("not yet by itself", "names", gdb.selected_thread().name)
    go("monitor goto start")
    check_equal("at the beginning again", ["names"], names())
    run_to("end")
    check_equal("at the end", ["leader"], names())
