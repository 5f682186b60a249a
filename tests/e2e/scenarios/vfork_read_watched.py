"""A watchpoint that the machine has none for, so that the program runs ahead, into its vforks."""

from gdb_side import MODE, check, check_equal, go, run_to, skip, value

PROGRAM_SOURCE = "vforks_compute.c"


def run():
    if MODE == "native":
        skip("gdb's own record ends at fork")
    go("rwatch far[4096]")
    run_to("return")
    check_equal("failures", 0, value("failures"))
    check_equal("sum", 300000000, value("sum"))
    check("exit with status 0" in go("continue"), "no end")
