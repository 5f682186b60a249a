"""dlopen and dlclose: catch load, breakpoints inside, and back to where nothing was loaded."""

from gdb_side import MODE, check, check_at, check_equal, frames, go, run_to, skip

PROGRAM_SOURCE = "libraries.c"


def listed():
    return "libm.so" in go("info sharedlibrary")


def run():
    if MODE == "native":
        skip("too slow")
    go("catch load libm")
    check("libm" in go("continue"), "the load was missed")
    check("main" in frames(), "not called from main")
    go("delete")
    run_to("opened")
    check(listed(), "libm is not listed")
    go("tbreak cbrt")
    go("continue")
    check_equal("in", "cbrt", frames()[0].lstrip("_"))
    go("finish")
    check_at("opened")
    run_to("close")
    go("tbreak cbrt")
    go("reverse-continue")
    check_equal("in, backward", "cbrt", frames()[0].lstrip("_"))
    run_to("open", "reverse-continue")
    check(not listed(), "libm is listed before it was loaded")
    run_to("closed")
    run_to("opened", "reverse-continue")
    check(listed(), "libm is not listed, going back")
