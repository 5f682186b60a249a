"""reverse-continue and finish in a recursive function."""

from gdb_side import check_equal, frames, go, run_to, value


def run():
    run_to("depth")
    go("break depth_of if n == 0")
    go("continue")
    check_equal("depth", 6, frames().count("depth_of"))
    go("delete")
    go("finish")
    check_equal("n after finish", 1, value("n"))
    run_to("end")
    run_to("depth", "reverse-continue")
    go("next")
    check_equal("local", 291, value("local"))
