"""Real debuggers against rchk: every scenario live and on a recording, gdb's MI, and lldb."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

from e2e import mi
from harness import guests, process
from harness.making import making
from harness.report import Failed, Skipped, Test, require, scratch

HERE = pathlib.Path(__file__).resolve().parent
TIMEOUT_S = 90
LLDB = "lldb-22"


def tests(_options):
    found = []
    for scenario in sorted((HERE / "scenarios").glob("*.py")):
        # One that only makes sense live has no recording: its program may run for ever.
        text = scenario.read_text()
        modes = [mode for mode, other in (("live", "RECORDED"), ("recorded", "LIVE"))
                 if f"\nONLY_{other} = True" not in text]
        for mode in modes:
            found.append(Test(f"e2e/{mode}/{scenario.stem}",
                              lambda s=scenario, m=mode: run_scenario(s, m)))
    found += [
        Test("e2e/mi", lambda: mi.run(program("steps.c"))),
        Test("e2e/port", ports_told),
        Test("e2e/start_error", start_error),
        Test("e2e/lldb/recorded", lambda: lldb_breakpoints(live=False)),
        Test("e2e/lldb/live", lambda: lldb_breakpoints(live=True)),
        Test("e2e/lldb/begin_and_end", lldb_begin_and_end),
        Test("e2e/lldb/expressions_recorded", lambda: lldb_expressions(live=False)),
        Test("e2e/lldb/expressions_live", lambda: lldb_expressions(live=True)),
        Test("e2e/lldb/names_recorded", lambda: lldb_names(live=False)),
        Test("e2e/lldb/names_live", lambda: lldb_names(live=True)),
        Test("e2e/lldb/crash_recorded", lambda: lldb_crash(live=False)),
        Test("e2e/lldb/crash_live", lambda: lldb_crash(live=True)),
        Test("e2e/lldb/forks_recorded", lambda: lldb_forks(live=False)),
        Test("e2e/lldb/forks_live", lambda: lldb_forks(live=True)),
    ]
    return found


def program(source):
    path = HERE / "programs" / source
    return guests.compile_program(
        path, process.BUILD / "e2e" / path.stem, guests.parse(path).build
    )


def recording_of(source):
    """Made once a run of the tests. One that computes for ever is killed from outside."""
    path = process.BUILD / "e2e" / f"{pathlib.Path(source).stem}.{os.getpid()}.rchk"
    with making(path):
        return path if path.exists() else recorded(source, path)


def recorded(source, path):
    for stale in path.parent.glob(f"{pathlib.Path(source).stem}.*.rchk"):
        stale.unlink()
    endless = "spin" in source

    def kill_guest(running):
        time.sleep(5)
        for each in process.descendants(running.pid):
            if os.path.realpath(f"/proc/{each}/exe") == str(program(source)):
                os.kill(each, signal.SIGTERM)
                return

    options = guests.parse(HERE / "programs" / source).record
    command = [process.RCHK, "record", *options, "-o", path, "--", program(source)]
    done = process.run(command, timeout=30, during=kill_guest if endless else None)
    if done.timed_out or not path.exists():
        path.unlink(missing_ok=True)
        raise Failed(f"no recording: {done.shell()}\n{done.stderr.decode(errors='replace')}"
                     f"{done.stacks}")
    return path


def run_scenario(scenario, mode):
    match = re.search(r'^PROGRAM_SOURCE = "(.*)"', scenario.read_text(), re.M)
    source = match.group(1) if match else "steps.c"
    environment = {
        "E2E_MODE": mode,
        "E2E_SCENARIO": str(scenario),
        "E2E_PROGRAM": str(program(source)),
        "E2E_SOURCE": str(HERE / "programs" / source),
        "RCHK": str(process.RCHK),
    }
    if mode == "native":
        environment["LD_BIND_NOW"] = "1"
        environment["GLIBC_TUNABLES"] = "glibc.cpu.hwcaps=-AVX2,-AVX,-AVX512F,-ERMS,-XSAVE,-XSAVEC"
    if mode == "recorded":
        environment["E2E_RECORDING"] = str(recording_of(source))
    command = ["gdb", "-nx", "-batch", "-x", HERE / "run_scenario.py"]
    folder = scratch(f"e2e/{mode}/{scenario.stem}")
    done = process.run(command, timeout=TIMEOUT_S, cwd=folder, env={**os.environ, **environment})
    text = (done.stdout + done.stderr).decode(errors="replace")
    if (folder / "transcript").exists():
        text += (folder / "transcript").read_text(errors="replace")
    shown_by = " ".join(f"{key}={value}" for key, value in environment.items())
    shown_by += " " + process.shell_line(command)
    if done.timed_out:
        raise Failed(f"no end after {process.PATIENCE * TIMEOUT_S} s\nshown by: {shown_by}\n{tail(text)}\n"
                     f"{done.stacks}")
    skipped = re.search(r"^scenario skipped: (.*)", text, re.M)
    if skipped:
        raise Skipped(skipped.group(1))
    if done.status != 0 or "scenario passed" not in text:
        raise Failed(f"{tail(text)}\nshown by: {shown_by}")


def tail(text, lines=24):
    return "\n".join(text.rstrip().splitlines()[-lines:])


class Server:
    """`rchk replay --port`, or `rchk --port` with a program, on a port of its own."""

    def __init__(self, recording=None, live=None):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [str(process.RCHK), "--port", str(self.port), str(live)]
        if live is None:
            command = [str(process.RCHK), "replay", "--port", str(self.port), str(recording)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, start_new_session=True,
        )
        self.wait_until_listening()

    def wait_until_listening(self):
        # By looking, not by connecting: the server takes one debugger.
        wanted = f":{self.port:04X} "
        for _ in range(200):
            if self.process.poll() is not None:
                raise Failed(f"the server ended: {self.process.stderr.read().decode()}")
            tables = "".join(pathlib.Path(f"/proc/net/{name}").read_text()
                             for name in ("tcp", "tcp6") if os.path.exists(f"/proc/net/{name}"))
            if any(wanted in line and line.split()[3] == "0A" for line in tables.splitlines()[1:]
                   if len(line.split()) > 3):
                return
            time.sleep(0.05)
        raise Failed("the server does not listen")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        process.kill_tree(self.process.pid)
        self.process.wait()


def ports_told():
    """The line that says where rchk listens names what gdb and lldb take, live and recorded."""
    for where in ({"live": program("steps.c")}, {"recording": recording_of("steps.c")}):
        with Server(**where) as server:
            line = server.process.stderr.readline().decode()
            for wanted in (f"127.0.0.1:{server.port};", f"in gdb: target remote :{server.port};",
                           f"in lldb: gdb-remote {server.port}\n"):
                require(wanted in line, f"no '{wanted}' in: {line}")


def lldb_session(source, commands, live=False):
    if shutil.which(LLDB) is None:
        raise Skipped(f"{LLDB} is not installed")
    with (Server(live=program(source)) if live else Server(recording_of(source))) as server:
        lines = [f"target create {program(source)}",
                 *[each.replace("CONNECT", f"gdb-remote {server.port}")
                   for each in commands]]
        # Not --batch: it gives up where a program stops for anything like a crash, such as the
        # start of history.
        arguments = [LLDB, "--no-lldbinit"]
        for each in ["settings set auto-confirm true", *lines, "quit"]:
            arguments += ["-o", each]
        done = process.run(arguments, timeout=TIMEOUT_S)
        text = (done.stdout + done.stderr).decode(errors="replace")
        require(not done.timed_out, f"lldb does not end\n{tail(text)}\n{done.stacks}")
        return text


def require_in_order(text, patterns):
    place = 0
    for pattern in patterns:
        found = re.compile(pattern, re.S).search(text, place)
        require(found, f"lldb did not say /{pattern}/ in its place; it said\n{tail(text, 60)}")
        place = found.end()


def lldb_breakpoints(live):
    text = lldb_session("steps.c", live=live, commands=[
        "breakpoint set -n add", "CONNECT", "continue", "frame variable b", "continue",
        "frame variable b", "continue", "frame variable b", "process continue --reverse",
        "frame variable b", "process continue --forward", "frame variable b", "bt",
        "register read rip", "thread step-inst", "thread step-over",
    ])
    require_in_order(text, [r"b = 0", r"b = 1", r"b = 4", r"b = 1", r"b = 4", r"add.*fill.*main",
                            r"rip = 0x"])


def lldb_begin_and_end():
    text = lldb_session("steps.c", [
        "breakpoint set -n depth_of", "CONNECT", "continue", "frame variable n",
        "breakpoint delete -f", "process continue --reverse", "register read rip",
        "process continue --forward", "breakpoint set -n fill", "process continue --reverse",
        "frame variable count",
    ])
    require_in_order(text, [r"n = 5", r"history|boundary", r"rip = 0x", r"count = 10"])


def lldb_expressions(live):
    """Expressions that need memory, after moves in both directions, and what they have kept there."""
    length = 'expression -- (int)strlen("%s") + scoped(%d)'
    text = lldb_session("calls.c", live=live, commands=[
        "breakpoint set -n scoped", "CONNECT", "continue", "frame variable n",
        length % ("one", 1), "expression -- int $kept = 1234",
        length % ("three", 2), "continue", length % ("seven c", 3), "thread step-over",
        length % ("eleven char", 4), "process continue --reverse", "frame variable n",
        "expression -- $kept + 1", length % ("a", 5), "breakpoint delete -f",
        "breakpoint set -n leaf -c '(int)strlen(\"one\") == 3 && n == 3'",
        "process continue --reverse", "frame variable n calls",
    ])
    require_in_order(text, [r"n = 1", r"\(int\) \$\d+ = 25", r"= 29", r"= 33", r"= 39", r"n = 2",
                            r"= 1235", r"= 31", r"n = 3"])


def lldb_names(live):
    text = lldb_session("names.c", live=live, commands=[
        "breakpoint set -n renamed", "CONNECT", "continue", "thread list",
    ])
    names = ["leader", r"<self> & \?", "by another", "leader"]
    require_in_order(text, [rf"thread #{number}: tid[^\n]*name = '{name}'"
                            for number, name in enumerate(names, 1)])


def lldb_forks(live):
    """A program with children: lldb sees its first process, whose breakpoints stay."""
    text = lldb_session("vforks.c", live=live, commands=[
        "breakpoint set -n wait_for", "CONNECT", "continue", "frame variable child", "thread list",
        "finish", "continue", "up", "target variable result", "process continue --reverse", "up",
        "target variable result",
    ])
    require_in_order(text, [r"stop reason = breakpoint", r"child = [1-9]", r"thread #1",
                            r"stop reason = step out", r"stop reason = breakpoint",
                            r"result = 113", r"stop reason = breakpoint", r"result = 0"])


def start_error():
    """gdb shows why there is no program."""
    done = process.run(["gdb", "-nx", "-q", "-batch", "-ex",
                        f"target remote | {process.RCHK} /nonexistent/program"], timeout=TIMEOUT_S)
    text = (done.stdout + done.stderr).decode(errors="replace")
    if "cannot run /nonexistent/program: No such file" not in text:
        raise Failed(f"gdb did not show the reason; it said\n{text}")
    # Nobody is asked to connect to it either; and what PATH does not lead to may be at hand.
    folder = scratch("e2e/start_error")
    shutil.copy("/bin/true", folder / "at-hand")
    for name, reason in (("/nonexistent/program", "cannot run /nonexistent/program: No such"),
                         ("at-hand", "the one in this folder is ./at-hand"),
                         ("not-at-hand", "cannot run not-at-hand: No such file")):
        done = process.run([process.RCHK, "--port", "0", name], cwd=folder, timeout=TIMEOUT_S)
        text = done.stderr.decode(errors="replace")
        require(done.status == 2 and reason in text and "listening" not in text,
                f"rchk --port 0 {name}: status {done.status}, it said\n{text}")


def lldb_crash(live):
    """Back from the signal that ends a program: lldb does not go back where it has one to deliver."""
    text = lldb_session("crash.c", live=live, commands=[
        "CONNECT", "continue", "process continue --reverse", "process continue --forward",
    ])
    require_in_order(text, [r"stop reason = signal SIGSEGV", r"stop reason = history boundary",
                            r"stop reason = signal SIGSEGV"])


if __name__ == "__main__":
    # Checks a scenario against gdb's own `record full`: python3 -m e2e.tests SCENARIO...
    for name in sys.argv[1:]:
        run_scenario(HERE / "scenarios" / f"{name}.py", "native")
