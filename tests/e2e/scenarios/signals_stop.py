"""A signal stops where it comes, before its handler, forwards and backwards."""

from gdb_side import MODE, check, check_at, check_equal, function, go, run_to, skip, value

PROGRAM_SOURCE = "signals.c"
USR1, USR2, SEGV = 10, 12, 11


def expect(command, signal):
    text = go(command)
    check("received signal" in text, f"no signal: {text!r}")
    check_equal("signal", signal, value("$_siginfo.si_signo"))


def run():
    if MODE == "native":
        skip("gdb record stops at sigreturn")
    expect("continue", USR1)
    check_equal("handled", 0, value("handled[10]"))
    go("stepi")
    check_equal("behind a step", "handler", function())
    go("reverse-stepi")
    check("kill" in function(), "not back in front of the handler")
    expect("continue", USR1)
    expect("continue", USR2)
    check_equal("handled", 1, value("handled[10]"))
    expect("continue", SEGV)
    check_at("fault")
    run_to("jumped")
    run_to("return")
    expect("reverse-continue", SEGV)
    check_at("fault")
    check_equal("handled", 0, value("handled[11]"))
    expect("reverse-continue", USR2)
    check_equal("outside", 7, value("outside"))
    expect("reverse-continue", USR1)
    check("No more" in go("reverse-continue"), "a signal too many")
