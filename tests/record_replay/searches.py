"""Searches back by several processes: every stop as with one, and nobody is left behind."""

import shutil
import subprocess
import sys
import time

from harness import guests, process
from harness.remote import Remote
from harness.report import Test, check_equal, require, scratch

RSP, RIP = 7, 16  # in gdb's order of registers
# What they are about: computation, memory, signals, tasks, processes; some run for so many ms.
GUESTS = {
    "compute_large": [],
    "compute_long": [],
    "exec_itself": [],
    "keep_memory_changes": ["200"],
    "keep_processes": ["200"],
    "keep_threads": ["200"],
    "self_modifying": [],
    "signals_alarm_in_computation": [],
    "threads_spin_turns": [],
}


def tests(options):
    repeat = options.soak or options.repeat
    return [
        *[Test(f"searches/{name}", lambda n=name: same_stops(n, repeat)) for name in GUESTS],
        Test("searches/interrupted", interrupted),
        Test("searches/killed", killed),
    ]


def record(folder, command):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    recording = folder / "recording.rchk"
    done = process.run([process.RCHK, "record", "--snapshots", "10", "-o", recording, "--",
                        *map(str, command)], timeout=120, cwd=folder)
    require(recording.exists(), f"no recording\n{done.shell()}\n{done.stderr[-1000:]}")
    return recording


def same_stops(name, repeat):
    guest = guests.named(name)
    folder = scratch(f"searches/{name}")
    for _ in range(repeat):
        recording = record(folder, [guest.program(), *(GUESTS[name] or guest.args)])
        with Remote(recording, "--search-jobs", "1") as one, \
                Remote(recording, "--search-jobs", "3") as three:
            # Both have come by the same places: what a stop is depends on which processes were seen.
            places = places_of(one)
            check_equal("places", places, places_of(three))
            for points in places:
                compare(one, three, points)
    shutil.rmtree(folder)
    return repeat


def places_of(remote):
    """Breakpoints and watchpoints that mean something to the program: where it came by."""
    found = []
    for percent in (20, 80):
        remote.monitor(f"goto {percent}%")
        pc, stack = remote.register(RIP), remote.register(RSP) & ~7
        for points in ([f"0,{pc:x},1"], [f"2,{stack - 8:x},8"], [f"4,{stack:x},8"]):
            if points not in found:
                found.append(points)
    return found


def compare(one, three, points):
    shown = f"points {points}, back from the end\nshown by: {process.shell_line(three.command)}"
    for remote in (one, three):
        remote.monitor("goto end")
        for point in points:
            check_equal(f"Z{point}", "OK", remote.ask(f"Z{point}"), shown)
    for number in range(2):
        stops = [(remote.ask("bc"), remote.monitor("when"), remote.registers())
                 for remote in (one, three)]
        check_equal(f"stop {number}", stops[0], stops[1], shown)
        if "replaylog" in stops[0][0]:
            break
    for remote in (one, three):
        for point in points:
            check_equal(f"z{point}", "OK", remote.ask(f"z{point}"), shown)


def long_recording(folder):
    return record(folder, [guests.named("keep_memory_changes").program(), "2000"])


def interrupted():
    folder = scratch("searches/interrupted")
    recording = long_recording(folder)
    with Remote(recording, "--search-jobs", "2") as remote:
        remote.monitor("goto end")
        before = remote.monitor("when"), remote.registers()
        # All of the history has to be run for a breakpoint that nothing is known of.
        check_equal("Z0", "OK", remote.ask("Z0,10,1"))
        check_equal("signals", "OK", remote.ask("QPassSignals:e"))
        remote.send("bc")
        time.sleep(0.2)
        remote.interrupt()
        stop = remote.reply()
        require(stop.startswith("T02"), f"not interrupted: {stop}")
        check_equal("the present", before, (remote.monitor("when"), remote.registers()))
        stop = remote.ask("bc")
        require("replaylog:begin" in stop, f"the search did not come to its end: {stop}")
    shutil.rmtree(folder)


def killed():
    """Whatever moment rchk is killed at, it leaves no process behind."""
    folder = scratch("searches/killed")
    recording = long_recording(folder)
    done = subprocess.run([sys.executable, "-m", "record_replay.kill_searches", str(recording)],
                          cwd=process.ROOT / "tests", capture_output=True, text=True, timeout=200,
                          check=False)
    require(done.returncode == 0, f"{done.stdout}{done.stderr}")
    shutil.rmtree(folder)
