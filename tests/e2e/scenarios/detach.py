"""detach: the program goes on by itself."""

from gdb_side import MODE, go, run_to, skip


def run():
    if MODE == "native":
        skip("not for gdb record")
    run_to("middle")
    go("detach")
