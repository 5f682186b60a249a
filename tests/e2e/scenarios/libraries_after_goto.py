"""`monitor goto` over dlopen and dlclose, and from before the dynamic linker: gdb knows what is loaded.

gdb itself does not notice the move: rchk_gdb.py looks again after each monitor command."""


from gdb_side import (LIVE, MODE, check, check_at, check_equal, function, go, load_commands, run_to,
                      skip, value)

PROGRAM_SOURCE = "libraries.c"


def libraries():
    text = go("info sharedlibrary")
    return [name for name in ("ld-linux", "libc.so", "libm.so") if name in text]


def run():
    if MODE == "native":
        skip("there is no monitor")
    load_commands()
    if not LIVE:
        check_equal("at the start", ["ld-linux"], libraries())
        check("exit" in go("monitor goto end"), "gdb does not say where it is")
        check_equal("at the end", ["ld-linux", "libc.so"], libraries())
        go("monitor goto start")
    run_to("opened")
    go("monitor bookmark opened")
    check_at("opened")
    go("monitor goto start")
    check_equal("at the start, from where libm is loaded", ["ld-linux"], libraries())
    run_to("open")
    go("monitor goto opened")
    check_at("opened")
    check_equal("over dlopen", ["ld-linux", "libc.so", "libm.so"], libraries())
    go("tbreak cbrt")
    go("continue")
    check_equal("in", "cbrt", function().lstrip("_"))
    # A frame that was chosen stays so where nothing moved.
    go("up")
    go("monitor when")
    check_equal("chosen frame", "main", function())
    run_to("closed")
    go("monitor goto opened")
    check_equal("back over dlclose", ["ld-linux", "libc.so", "libm.so"], libraries())
    run_to("closed")
    check_equal("closed", ["ld-linux", "libc.so"], libraries())
    # What gdb sets at the dynamic linker still works.
    go("monitor goto start")
    run_to("opened")
    check_equal("opened once more", ["ld-linux", "libc.so", "libm.so"], libraries())
    check_equal("result", 0, value("(int)result"))
