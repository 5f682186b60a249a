"""gdb -x: one measurement of a debugging session; BENCH_* say which. Prints `measured NAME S`."""

import os
import time

import gdb

PROGRAM = os.environ["BENCH_PROGRAM"]
MODE = os.environ["BENCH_MODE"]


def timed(command):
    start = time.perf_counter()
    gdb.execute(command, to_string=True)
    return time.perf_counter() - start


def report(name, value):
    print(f"measured {name} {value:.9f}", flush=True)


def connect():
    for setting in ("pagination off", "confirm off", "debuginfod enabled off", "sysroot /"):
        gdb.execute(f"set {setting}")
    gdb.execute(f"file {PROGRAM}", to_string=True)
    rchk, arguments = os.environ["RCHK"], os.environ["BENCH_ARGUMENTS"]
    if MODE == "live":
        gdb.execute(f"target remote | {rchk} {PROGRAM} {arguments}", to_string=True)
    elif MODE == "recorded":
        options, recording = os.environ["BENCH_OPTIONS"], os.environ["BENCH_RECORDING"]
        gdb.execute(f"target remote | {rchk} replay --stdio {options} {recording}",
                    to_string=True)
    else:
        gdb.execute(f"set args {arguments}")


def run_to(function):
    point = gdb.Breakpoint(function)
    gdb.execute("continue", to_string=True)
    point.delete()
    check_in(function)


def check_in(function):
    name = gdb.newest_frame().name()
    if name != function:
        raise gdb.GdbError(f"stopped in {name} instead of {function}")


def reverse_continue():
    run_to("end")
    report("reverse_continue", timed("reverse-continue"))


def many_hits():
    run_to("end")
    point = gdb.Breakpoint("begin")
    report("without", timed("reverse-continue"))
    check_in("begin")
    point.delete()
    run_to("end")
    point = gdb.Breakpoint("hit")
    report("with", timed("reverse-continue"))
    check_in("hit")
    point.delete()
    run_to("end")
    gdb.Breakpoint("begin")
    point = gdb.Breakpoint("hit")
    point.condition = "i == -1"
    report("refused", timed("reverse-continue"))
    check_in("begin")


def last_write():
    for name, index in (("indexed", "on"), ("searched", "off")):
        run_to("end")
        gdb.execute(f"monitor index {index}")
        watch = gdb.Breakpoint("seldom[0]", gdb.BP_WATCHPOINT)
        report(name, timed("reverse-continue"))
        check_in("main")
        if int(gdb.parse_and_eval("seldom[0]")) != 0:
            raise gdb.GdbError("stopped behind another write")
        watch.delete()


def monitor_last():
    """A session that has not run anything yet: all that is known is in the recording."""
    for name, index in (("indexed", "on"), ("searched", "off")):
        gdb.execute(f"monitor index {index}")
        gdb.execute("monitor goto end", to_string=True)
        address = int(gdb.parse_and_eval("&seldom[0]"))
        report(name, timed(f"monitor last {address:#x} 8"))
        if int(gdb.parse_and_eval("seldom[0]")) != 0:
            raise gdb.GdbError("stopped behind another write")


def search():
    """From the end to the beginning, where nothing has been run before."""
    gdb.execute("monitor goto end", to_string=True)
    gdb.Breakpoint("often[5][1]", gdb.BP_WATCHPOINT)
    report("search", timed("reverse-continue"))


def reverse_steps():
    run_to("end")
    back = [timed("reverse-stepi") for _ in range(1000)]
    forward = [timed("stepi") for _ in range(200)]
    report("mean", sum(back) / len(back))
    report("slowest", max(back))
    report("forward", sum(forward) / len(forward))


def native_steps():
    """What gdb takes for stepping a program by itself."""
    gdb.Breakpoint("hit", temporary=True)
    gdb.execute("run", to_string=True)
    check_in("hit")
    steps = [timed("stepi") for _ in range(1000)]
    report("mean", sum(steps) / len(steps))


def first_step():
    run_to("end")
    report("first", timed("reverse-stepi"))


def gdb_record():
    gdb.Breakpoint("begin")
    gdb.execute("run", to_string=True)
    gdb.execute("delete")
    gdb.execute("set record full insn-number-max unlimited")
    gdb.execute("record full")
    gdb.Breakpoint("end")
    report("forward", timed("continue"))
    check_in("end")
    gdb.execute("delete")
    report("back", timed("reverse-continue"))


connect()
globals()[os.environ["BENCH_KIND"]]()
gdb.execute("kill", to_string=True)
