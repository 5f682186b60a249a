"""What scenarios share. Runs in gdb's own Python; the environment says what to debug and how."""

import hashlib
import os
import signal
import threading
import time

import gdb

MODE = os.environ["E2E_MODE"]  # live, recorded, or native: gdb's own record, to check a scenario
PROGRAM = os.environ["E2E_PROGRAM"]
SOURCE = os.environ["E2E_SOURCE"]
LIVE = MODE == "live"
TRANSCRIPT = "transcript"


def go(command):
    """Executes a command and returns what gdb said; all of it is in the transcript too.

    By way of the transcript: what gdb says about a stop is not in the string that execute()
    returns.
    """
    print(f"(gdb) {command}", flush=True)
    gdb.flush()
    start = os.path.getsize(TRANSCRIPT)
    gdb.execute(command)
    gdb.flush()
    with open(TRANSCRIPT, encoding="utf-8", errors="replace") as transcript:
        transcript.seek(start)
        return transcript.read()


def check(condition, message):
    if not condition:
        raise AssertionError(f"{message} (at {where()})")


def check_equal(what, expected, found):
    check(expected == found, f"{what}: expected {expected!r}, found {found!r}")


def write_transcript():
    """From here on all that gdb says goes to a file, which the driver shows when it has to."""
    transcript = os.open(TRANSCRIPT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(transcript, 1)
    os.dup2(transcript, 2)


def connect():
    for setting in ("pagination off", "confirm off", "width 0", "debuginfod enabled off",
                    "python print-stack full"):
        gdb.execute(f"set {setting}")
    gdb.execute("set sysroot /")
    go(f"file {PROGRAM}")
    if MODE == "native":
        go(f"break *{value('(long)&_start'):#x}")  # not the dynamic linker's
        go("run")
        gdb.execute("set record full insn-number-max unlimited")
        go("delete")
        gdb.execute("set can-use-hw-watchpoints 0")  # it misses them going back
        go("record full")
        return
    go("set remotetimeout 20")  # rchk may take long to start on a busy machine
    target = PROGRAM if LIVE else f"replay --stdio {os.environ['E2E_RECORDING']}"
    go(f"target remote | {os.environ['RCHK']} {target}")


def load_commands():
    """Those that rchk gives to the gdb that it starts."""
    rchk_gdb = os.path.join(os.path.dirname(os.environ["E2E_SCENARIO"]), "../../../cli/rchk_gdb.py")
    gdb.execute(f"source {rchk_gdb}")


def line_of(mark):
    with open(SOURCE, encoding="ascii") as source:
        for number, line in enumerate(source, 1):
            if line.rstrip().endswith(f"// mark: {mark}"):
                return number
    raise AssertionError(f"no line is marked {mark}")


def break_at(mark, condition=""):
    point = gdb.Breakpoint(f"{os.path.basename(SOURCE)}:{line_of(mark)}")
    if condition:
        point.condition = condition
    return point


def run_to(mark, direction="continue"):
    """Goes to the marked line, and leaves no breakpoint behind."""
    point = break_at(mark)
    text = go(direction)
    point.delete()
    check_at(mark)
    return text


def where():
    try:
        frame = gdb.selected_frame()
        return f"{frame.name()}:{frame.find_sal().line} {pc():#x}"
    except gdb.error as error:
        return str(error)


def line():
    return gdb.selected_frame().find_sal().line


def function():
    return gdb.selected_frame().name()


def check_at(mark):
    check_equal(f"line of '{mark}'", line_of(mark), line())


def pc():
    return value("$pc")


def value(expression):
    return int(gdb.parse_and_eval(expression))


REGISTERS = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11",
             "r12", "r13", "r14", "r15", "rip", "eflags", "cs", "ss", "ds", "es", "fs", "gs",
             "fs_base", "gs_base"] + [f"xmm{i}.uint128" for i in range(16)]


def registers():
    return {name: str(gdb.parse_and_eval(f"${name}")) for name in REGISTERS}


def memory_checksum(regions=()):
    """Of the stack around its pointer, the program's data, and what else is asked for."""
    inferior, total = gdb.selected_inferior(), hashlib.sha256()
    stack = value("$rsp") & ~0xfff
    for start, size in [(stack - 4096, 8192), *regions]:
        total.update(bytes(inferior.read_memory(start, size)))
    return total.hexdigest()


def state(*variables):
    """Everything that two visits to one position have to agree on."""
    regions = [(value(f"(long)&{name}"), value(f"sizeof {name}")) for name in variables]
    return registers(), memory_checksum(regions)


def step_there_and_back(end, areas, most):
    """stepi to address `end`, back to the beginning, and there again: the same state at each place.
    Returns the states, and their addresses."""
    states, places = [], []
    while pc() != end:
        states.append((registers(), memory_checksum(areas)))
        places.append(pc())
        go("stepi")
        check(len(states) < most, "it does not come to the end")
    for expected in reversed(states):
        go("reverse-stepi")
        check_equal("backward", expected, (registers(), memory_checksum(areas)))
    for expected in states[1:]:
        go("stepi")
        check_equal("forward", expected, (registers(), memory_checksum(areas)))
    return states, places


def check_same(what, expected, found):
    for name in expected[0]:
        check_equal(f"{what}: {name}", expected[0][name], found[0][name])
    check_equal(f"{what}: checksum of memory", expected[1], found[1])


def interrupt_after(seconds):
    """^C, as a user at the terminal sends it to gdb."""
    main = threading.main_thread().ident

    def send():
        time.sleep(seconds)
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=send, daemon=True).start()


def at_begin_of_history(text):
    return "No more reverse-execution history" in text


def skip(reason):
    raise Skip(reason)


class Skip(Exception):
    pass


def frames():
    names, frame = [], gdb.newest_frame()
    while frame is not None:
        names.append(frame.name())
        frame = frame.older()
    return names
