"""A live program has no descriptor that it would not have without rchk: gdb waits longer for all
that it reads while somebody holds the stub's standard error."""

import os

import gdb
from gdb_side import check_equal, run_to

ONLY_LIVE = True


def targets(pid, lowest):
    folder = f"/proc/{pid}/fd"
    return {os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)
            if int(fd) >= lowest and os.path.lexists(f"{folder}/{fd}")}


def run():
    run_to("middle")
    inherited = targets("self", 0)
    check_equal("more", set(), targets(gdb.selected_inferior().pid, 3) - inherited)
