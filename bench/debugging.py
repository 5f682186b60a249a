"""What a user of gdb waits for, measured inside gdb."""

import os
import pathlib
import statistics

from harness import process
from row import Row, judged, limited, seconds
from running import FOLDER, BenchmarkFailed, built, timed

HERE = pathlib.Path(__file__).resolve().parent
GDB_TIMEOUT_S = 600


def session(kind, program, *, mode, recording=None, arguments=(), options=()):
    """Runs one measurement of gdb_timing.py in gdb; returns what it measured, by name."""
    environment = {
        **os.environ,
        "BENCH_KIND": kind,
        "BENCH_MODE": mode,
        "BENCH_PROGRAM": program,
        "BENCH_ARGUMENTS": " ".join(arguments),
        "BENCH_RECORDING": str(recording or ""),
        "BENCH_OPTIONS": " ".join(options),
        "RCHK": str(process.RCHK),
    }
    done = process.run(["gdb", "-nx", "-batch", "-x", HERE / "gdb_timing.py"],
                       timeout=GDB_TIMEOUT_S, cwd=FOLDER, env=environment)
    found = {}
    for line in done.stdout.decode(errors="replace").splitlines():
        if line.startswith("measured "):
            _, name, value = line.split()
            found[name] = float(value)
    if done.timed_out or not found:
        last = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()[-1:]
        raise BenchmarkFailed(f"{kind}: {'no end' if done.timed_out else ''.join(last)}")
    return found


def record(name, command):
    recording = FOLDER / f"{name}.rchk"
    recording.unlink(missing_ok=True)
    timed([process.RCHK, "record", "-o", recording, "--", *command])
    return recording


class Measurement:
    def __init__(self, name, measure):
        self.name = name
        self.measure = measure


def median_native(command, options):
    return statistics.median(timed(command) for _ in range(options.repeats))


def long_way_back(options):
    """Two thousand million instructions, of which none is what the search looks for."""
    rounds = 25_000_000 if options.quick else 250_000_000
    program = built("long_loop", "-g", "-no-pie")
    whole = median_native([program, str(rounds)], options)
    stretch = whole - median_native([program, "1"], options)
    recording = record("long_loop", [program, str(rounds)])
    found = session("reverse_continue", program, mode="recorded", recording=recording)
    return [judged("reverse-continue, no hit", native_s=stretch,
                   measured_s=found["reverse_continue"], bar=2.5,
                   note=f"{rounds * 8:,} instructions")]


def many_hits(options):
    calls = 100_000 if options.quick else 1_000_000
    program = built("hits", "-g", "-no-pie")
    recording = record("hits", [program, str(calls), "100"])
    found = session("many_hits", program, mode="recorded", recording=recording)
    return [judged("reverse-continue, last hit", native_s=found["without"],
                   measured_s=found["with"], bar=2.0,
                   note=f"{calls:,} hits; compared with the way back without the breakpoint"),
            judged("reverse-continue, hits that a condition refuses", native_s=found["without"],
                   measured_s=found["refused"], bar=None, note=f"{calls:,} hits")]


def last_write(options):
    rounds = 10_000 if options.quick else 100_000
    program = built("seldom", "-g", "-no-pie")
    native = timed([program, str(rounds)])
    recording = record("seldom", [program, str(rounds)])
    found = session("last_write", program, mode="recorded", recording=recording,
                    options=("--search-jobs", "1"))
    faster = found["searched"] / found["indexed"]
    return [limited("reverse-continue to a variable's only write", native_s=native,
                    measured_s=found["indexed"], limit_s=0.5,
                    note="near the beginning; other pages are dirtied all the time"),
            Row("the same without the index", seconds(native), seconds(found["searched"]), faster,
                "20.00 x", "ok" if faster >= 20 else "under",
                "the ratio: how much faster the index is")]


def search_on_two_cores(options):
    """A watchpoint that no index rules out, on a page that is dirtied all the time."""
    rounds = 10_000 if options.quick else 30_000
    program = built("seldom", "-g", "-no-pie")
    native = timed([program, str(rounds)])
    recording = record("seldom", [program, str(rounds)])
    took = {1: [], 2: []}
    for _ in range(options.repeats):
        for jobs, times in took.items():
            found = session("search", program, mode="recorded", recording=recording,
                            options=("--search-jobs", str(jobs)))
            times.append(found["search"])
    one, two = min(took[1]), min(took[2])
    return [Row("reverse-continue, nothing skippable: 2 cores against 1", seconds(native),
                seconds(two), one / two, "1.60 x", "ok" if one >= 1.6 * two else "under",
                f"the ratio: how much faster 2 cores are; 1 core: {seconds(one)}")]


def small_steps(_options):
    program = built("hits", "-g", "-no-pie")
    recording = record("hits", [program, "10000", "100"])
    native = session("native_steps", program, mode="native", arguments=("10000", "100"))
    rows = []
    for mode in ("recorded", "live"):
        found = session("reverse_steps", program, mode=mode, recording=recording,
                        arguments=("10000", "100"))
        rows += [
            limited(f"reverse-stepi, {mode}, mean of 1,000", native_s=native["mean"],
                    measured_s=found["mean"], limit_s=0.0003,
                    note=f"native: gdb's own stepi; stepi forward: {found['forward'] * 1e3:.2f} ms"),
            limited(f"reverse-stepi, {mode}, slowest", measured_s=found["slowest"], limit_s=0.1),
        ]
    return rows


def first_step_back(options):
    megabytes = 20 if options.quick else 200
    program = built("touch", "-g", "-no-pie")
    found = session("first_step", program, mode="live", arguments=(str(megabytes),))
    return [limited("first reverse-stepi after a live stop", measured_s=found["first"],
                    limit_s=0.3, note=f"{megabytes} MB of memory")]


def gdb_record(options):
    """The peer that is always at hand: gdb's own `record full`."""
    program = built("long_loop", "-g", "-no-pie")
    rounds = 5_000 if options.quick else 20_000
    found = session("gdb_record", program, mode="native", arguments=(str(rounds),))
    native = median_native([program, "250000000"], options) / 250_000_000 * rounds
    return [Row("gdb record full, forward", f"{native * 1e3:.3f} ms",
                f"{found['forward']:.2f} s", found["forward"] / native, "", "",
                f"{rounds * 8 / found['forward']:,.0f} instructions a second"),
            Row("gdb record full, back", f"{native * 1e3:.3f} ms", f"{found['back']:.2f} s",
                found["back"] / native, "", "",
                f"{rounds * 8 / found['back']:,.0f} instructions a second")]


def benchmarks(options):
    return [
        Measurement("reverse_continue", lambda: long_way_back(options)),
        Measurement("many_hits", lambda: many_hits(options)),
        Measurement("last_write", lambda: last_write(options)),
        Measurement("search_on_two_cores", lambda: search_on_two_cores(options)),
        Measurement("reverse_steps", lambda: small_steps(options)),
        Measurement("first_step", lambda: first_step_back(options)),
        Measurement("gdb_record", lambda: gdb_record(options)),
    ]
