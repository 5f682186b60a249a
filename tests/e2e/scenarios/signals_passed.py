"""`handle`: what is not to stop does not, in either direction."""

from gdb_side import MODE, check, check_equal, go, run_to, skip, value

PROGRAM_SOURCE = "signals.c"


def run():
    if MODE == "native":
        skip("gdb record stops at sigreturn")
    go("handle SIGUSR1 SIGUSR2 SIGSEGV nostop noprint pass")
    run_to("return")
    check_equal("outside", 1107, value("outside"))
    check("No more" in go("reverse-continue"), "stopped at a signal")
    go("handle SIGSEGV stop print")
    check("SIGSEGV" in go("continue"), "no stop at SIGSEGV")
    go("handle SIGUSR2 nostop print")
    text = go("reverse-continue")
    check("SIGUSR2" in text and "No more" in text, f"not only printed: {text!r}")
