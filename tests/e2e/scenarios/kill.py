"""kill: the program is gone, and so is rchk."""

from gdb_side import MODE, go, run_to, skip


def run():
    if MODE == "native":
        skip("not for gdb record")
    run_to("middle")
    go("kill")
