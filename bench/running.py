"""Recording and replaying whole programs."""

import pathlib
import re
import subprocess
import time

from harness import process
from harness.guests import compile_program
from row import Row, judged, limited

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
FOLDER = process.WORK / "bench"
SCRIPTS = ROOT / "tests" / "record_replay" / "scripts"
RECORD_BAR = 1.10
REPLAY_BAR = 1.6


class BenchmarkFailed(Exception):
    pass


def built(name, *flags):
    """A program of bench/programs."""
    return str(compile_program(HERE / "programs" / f"{name}.c", FOLDER / "bin" / name,
                               ["-O2", *flags]))


def stored_bytes(recording):
    """How many bytes of a recording are the contents of files that were mapped, and how many are
    page snapshots."""
    done = subprocess.run([process.RCHK, "info", recording], capture_output=True, text=True,
                          check=True)

    def bytes_in(line):
        found = re.search(line, done.stdout, re.MULTILINE)
        return int(found.group(1)) if found else 0
    return (bytes_in(r"^files inside +\d+ \((\d+) bytes"),
            bytes_in(r"^page snapshots +\d+ \(\d+ pages, (\d+) bytes"))


def timed(command, *, stdin=None, timeout=900):
    """Runs a command in the folder of the benchmarks; returns how long it took, in seconds."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(stdin or "/dev/null", "rb") as source:
        start = time.perf_counter()
        done = subprocess.run([str(word) for word in command], stdin=source, cwd=FOLDER,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              timeout=timeout, check=False)
        took = time.perf_counter() - start
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise BenchmarkFailed(f"status {done.returncode} of {process.shell_line(command)}: "
                              f"{''.join(last)}")
    return took


class Program:
    """One program, native, recorded and replayed in turn."""

    def __init__(self, name, command, options, *, stdin=None, record_bar=RECORD_BAR,
                 replay_bar=REPLAY_BAR, one_core=False, also_alone=False):
        self.name = name
        self.command = command          # a function, so that inputs are made only when needed
        self.stdin = stdin
        self.options = options
        self.bars = record_bar, replay_bar
        self.one_core = one_core        # compared with a native run that has only one core
        self.also_alone = also_alone    # replayed by a single process as well

    def measure(self):
        command = self.command()
        stdin = self.stdin() if self.stdin else None
        recording = FOLDER / f"{self.name}.rchk"
        record = [process.RCHK, "record", "-o", recording, "--", *command]
        replay = [process.RCHK, "replay", "-a", recording]
        native = ["taskset", "-c", "0", *command] if self.one_core else command
        timed(native, stdin=stdin)  # warms the page cache
        alone = [process.RCHK, "replay", "-a", "--jobs", "1", recording]
        times = {"native": [], "record": [], "replay": [], "alone": []}
        failure = None
        for _ in range(self.options.repeats):
            times["native"].append(timed(native, stdin=stdin))
            recording.unlink(missing_ok=True)
            times["record"].append(timed(record, stdin=stdin))
            if failure is None:
                try:
                    times["replay"].append(timed(replay))
                    if self.also_alone:
                        times["alone"].append(timed(alone))
                except (BenchmarkFailed, subprocess.TimeoutExpired) as error:
                    failure = error
        return self.rows(times, recording, failure)

    def rows(self, times, recording, failure):
        size = recording.stat().st_size
        files, snapshots = stored_bytes(recording)
        without_files = size - files
        recording.unlink()
        # The fastest of each: what else the machine does only ever adds.
        native, record = (min(times[kind]) for kind in ("native", "record"))
        note = (f"{size / 1e6:.2f} MB recorded, {without_files / 1e6:.2f} without files, "
                f"{(without_files - snapshots) / 1e6:.2f} without page snapshots")
        if self.one_core:
            note += "; native on one core"
        if self.name == "true":
            rows = [limited("record true", native_s=native, measured_s=record,
                            limit_s=native + 0.030, note=note)]
        else:
            rows = [judged(f"record {self.name}", native_s=native, measured_s=record,
                           bar=self.bars[0], note=note)]
        if failure is not None:
            rows.append(Row(f"replay {self.name}", verdict="failed", note=str(failure)[:160]))
        else:
            rows.append(judged(f"replay {self.name}", native_s=native,
                               measured_s=min(times["replay"]), bar=self.bars[1]))
            if self.also_alone:
                rows.append(judged(f"replay {self.name}, by one process", native_s=native,
                                   measured_s=min(times["alone"]), bar=None))
        return rows


def kept(name, make):
    """An input that is made once."""
    path = FOLDER / "inputs" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path.with_suffix(".new"))
        path.with_suffix(".new").rename(path)
    return str(path)


def preprocessed(large):
    flags = ["-DLARGE"] if large else []
    return kept(f"compile_me{'-large' if large else ''}.i", lambda path: subprocess.run(
        ["gcc", "-E", "-P", *flags, "-o", path, SCRIPTS / "compile_me.c"], check=True))


def sql(rows):
    text = (SCRIPTS / "workload.sql").read_text().replace("ROWS", str(rows))
    return kept(f"workload-{rows}.sql", lambda path: path.write_text(text))


def text(megabytes):
    from record_replay.programs import text_file
    return str(text_file(megabytes))


def cc1(large):
    found = subprocess.run(["gcc", "-print-prog-name=cc1"], capture_output=True, text=True,
                           check=True)
    return [found.stdout.strip(), "-quiet", "-O2", preprocessed(large), "-o", "/dev/null"]


def python_json(rounds):
    return ["/usr/bin/python3", HERE / "programs/json_loop.py", str(rounds)]


def gcc_driver(large):
    flags = ["-DLARGE"] if large else []
    return ["gcc", "-O2", *flags, "-c", SCRIPTS / "compile_me.c", "-o", FOLDER / "out.o"]


def dd(count):
    zeros = kept("zeros", lambda path: path.write_bytes(bytes(1_000_000)))
    return ["dd", f"if={zeros}", "of=/dev/null", "bs=1", f"count={count}", "status=none"]


def benchmarks(options):
    scale = 10 if options.quick else 1

    def scaled(number):
        return str(number // scale)

    return [
        Program("nbody", lambda: [built("nbody", "-lm"), scaled(40_000_000)], options),
        Program("fannkuch", lambda: [built("fannkuch"), "10" if options.quick else "11"], options),
        Program("python", lambda: ["/usr/bin/python3", HERE / "programs/loop.py",
                                   scaled(10_000_000)], options, also_alone=True),
        Program("lua", lambda: ["lua5.4", HERE / "programs/loop.lua", scaled(100_000_000)],
                options),
        Program("cc1", lambda: cc1(not options.quick), options, replay_bar=2.5,
                also_alone=True),
        Program("sqlite", lambda: ["sqlite3", "-batch", ":memory:"], options,
                stdin=lambda: sql(1_000_000 // scale), also_alone=True),
        Program("xz", lambda: ["xz", "-T1", "-1", "-c", text(50 // scale)], options),
        Program("true", lambda: ["/bin/true"], options, replay_bar=None),
        Program("dd_bs_1", lambda: dd(100_000 // scale), options, record_bar=None,
                replay_bar=None),
        Program("mutex_4_threads", lambda: [built("mutex", "-pthread"), scaled(5_000_000)], options,
                record_bar=1.5),
        Program("xz_two_threads", lambda: ["xz", "-T2", "-1", "--block-size=1MiB", "-c",
                                           text(50 // scale)], options, one_core=True),
        Program("pigz", lambda: ["pigz", "-n", "-p", "2", "-c", text(50 // scale)], options,
                one_core=True),
        Program("gcc_driver", lambda: gcc_driver(not options.quick), options, record_bar=1.25,
                replay_bar=2.5),
    ]
