"""What page snapshots cost, and what they are good for: the bars of docs/notes/page-snapshots.md."""

import re
import shutil
import statistics
import subprocess
import time

from debugging import session
from harness import process
from row import Row, judged, limited, seconds
from running import FOLDER, BenchmarkFailed, built, cc1, python_json, sql, timed
from serving import Server

OVERHEAD_BAR = 1.06
LONGEST_INTERVAL_S = 2.5  # and a bit, between two page snapshots
WITHOUT = ["--snapshot-overhead", "0"]


def costs(recording):
    """What `rchk info` tells of a recording's page snapshots."""
    done = subprocess.run([process.RCHK, "info", recording], capture_output=True, text=True,
                          check=True)
    found = re.search(r"^page snapshots +(\d+) \((\d+) pages, (\d+) bytes.*\n"
                      r" +pauses of ([\d.]+) ms in the middle, ([\d.]+) ms at most", done.stdout,
                      re.MULTILINE)
    if not found:
        raise BenchmarkFailed(f"no page snapshots in {recording.name}")
    count, pages, size = map(int, found.groups()[:3])
    return {"count": count, "pages": pages, "bytes": size,
            "middle_ms": float(found.group(4)), "longest_ms": float(found.group(5))}


def per_page(name, cost, limit):
    """A row whose bar is a number of bytes."""
    each = cost["bytes"] / max(1, cost["pages"])
    return Row(f"bytes stored per dirty page, {name}", "", f"{each:.0f}", None,
               f"{limit}" if limit else "", ("ok" if each < limit else "over") if limit else "",
               f"{cost['pages']:,} pages in {cost['count']} snapshots")


class Overhead:
    """Recording with page snapshots against recording without them: each in front of the other as
    often as behind it, since a machine is not as fast in one minute as in the next."""

    def __init__(self, name, run, options, *, page_limit=None, run_for_pages=None):
        self.name = f"snapshots_{name}"
        self.program = name
        self.run = run          # takes what to put in front of a command; returns seconds
        self.options = options
        self.page_limit = page_limit
        self.run_for_pages = run_for_pages  # whose costs() are looked at; else those of the last run

    def measure(self):
        recording = FOLDER / f"{self.name}.rchk"
        times = {"with": [], "without": []}
        for kind in ("with", "without", "without", "with") * self.options.repeats:
            extra = WITHOUT if kind == "without" else []
            recording.unlink(missing_ok=True)
            times[kind].append(self.run([process.RCHK, "record", *extra, "-o", recording, "--"]))
        rows = [judged(f"record {self.program}, snapshots against none",
                       native_s=statistics.median(times["without"]),
                       measured_s=statistics.median(times["with"]),
                       bar=OVERHEAD_BAR,
                       note=f"{costs(recording)['count']} snapshots; native: recorded without")]
        if self.run_for_pages:
            recording.unlink()
            again, all_of_them = self.run_for_pages.costs(
                [process.RCHK, "record", "-o", recording, "--"], recording)
            rows.append(per_page(self.program, again, self.page_limit))
            rows.append(per_page(f"{self.program} with the first million", all_of_them, None))
        else:
            rows.append(per_page(self.program, costs(recording), self.page_limit))
        recording.unlink()
        return rows


def program(command, stdin=None):
    """Runs a program; inputs are made only when needed."""
    def run(prefix):
        return timed([*prefix, *command()], stdin=stdin() if stdin else None)
    return run


class RedisSet(Server):
    """redis-server with a million keys, which are set again, at random: by so many at a time, or
    each by itself."""

    def __init__(self, options, *, together=50):
        super().__init__("redis-set.sock")
        self.keys = 100_000 if options.quick else 1_000_000
        self.again = (4 * self.keys if together > 1 else self.keys // 3, together)

    def set(self, requests, together):
        subprocess.run(["redis-benchmark", "-s", self.socket, "-n", str(requests), "-r",
                        str(self.keys), "-P", str(together), "-c", "20", "-q", "-t", "set"],
                       cwd=FOLDER, check=True, stdout=subprocess.DEVNULL, timeout=900)

    def __call__(self, prefix):
        with self.serving(prefix):
            start = time.perf_counter()
            self.set(self.keys, 50)
            self.set(*self.again)
            return time.perf_counter() - start

    def costs(self, prefix, recording):
        """Of the page snapshots while keys are set that are there, and of all."""
        with self.serving(prefix):
            self.set(self.keys, 50)
            time.sleep(LONGEST_INTERVAL_S)  # then the next event has a snapshot of the last ones
            self.ask("ping")
            time.sleep(0.5)
            loaded = costs(recording)
            self.set(*self.again)
        all_of_them = costs(recording)
        again = {key: all_of_them[key] - loaded[key] for key in ("count", "pages", "bytes")}
        return again, all_of_them


class Pause:
    """How long a process of a gigabyte stands still for a snapshot of a thousand pages."""

    name = "snapshot_pause"

    def __init__(self, options):
        self.options = options

    def measure(self):
        megabytes, rounds = (128, 10) if self.options.quick else (1024, 30)
        recording = FOLDER / "large.rchk"
        recording.unlink(missing_ok=True)
        timed([process.RCHK, "record", "--snapshots", "250", "-o", recording, "--",
               built("large"), str(megabytes), str(rounds)])
        cost = costs(recording)
        recording.unlink()
        return [limited("pause of a snapshot, in the middle", measured_s=cost["middle_ms"] / 1e3,
                        limit_s=0.010,
                        note=f"{megabytes} MB, 1,000 pages dirty; {cost['count']} snapshots; "
                             f"{cost['longest_ms']:.1f} ms at most (the first one, of all pages)")]


def lived(name, length_s):
    """A recording of a process that lives for so long."""
    recording = FOLDER / f"lived-{name}.rchk"
    recording.unlink(missing_ok=True)
    timed([process.RCHK, "record", "-o", recording, "--", built("long_lived", "-g", "-no-pie"),
           str(length_s)], timeout=1200)
    return recording


class LastWrite:
    """`monitor last` of a variable that was written once, a minute before the end."""

    name = "monitor_last"

    def __init__(self, options):
        self.options = options

    def measure(self):
        length_s = 10 if self.options.quick else 61
        recording = lived("last", length_s)
        found = session("monitor_last", built("long_lived", "-g", "-no-pie"), mode="recorded",
                        recording=recording)
        recording.unlink()
        faster = found["searched"] / found["indexed"]
        return [limited("monitor last, of a variable's only write", measured_s=found["indexed"],
                        limit_s=0.5, native_s=length_s,
                        note="at 2 % of the recording, seen from its end; other pages are dirtied "
                             "all the time"),
                Row("the same with the index switched off", "", seconds(found["searched"]), faster,
                    "20.00 x", "ok" if faster >= 20 else "under",
                    "the ratio: how much faster the index is")]


class OpenAtEnd:
    """From nothing to gdb's prompt at the end of a recording."""

    name = "open_at_end"

    def __init__(self, options):
        self.options = options

    def measure(self):
        lengths = (5, 30) if self.options.quick else (10, 600)
        # How far the end lies behind the last snapshot is chance: of short ones there are several.
        short = statistics.mean(self.opened(lengths[0]) for _ in range(5))
        long = self.opened(lengths[1])
        return [limited(f"open a recording of {lengths[1]} s at its end", measured_s=long,
                        limit_s=2.0, note="the start of gdb included"),
                judged(f"the same against one of {lengths[0]} s", native_s=short, measured_s=long,
                       bar=1.3, note="native: the short one")]

    def opened(self, length_s):
        recording = lived(str(length_s), length_s)
        took = min(timed(["gdb", "-nx", "-batch", "-ex", "set sysroot /", "-ex",
                          f"target remote | {process.RCHK} replay --stdio {recording}", "-ex",
                          "monitor goto end"]) for _ in range(self.options.repeats))
        recording.unlink()
        return took


class Ring(Server):
    """redis under load for minutes, of which half a minute is kept: disk and memory over time."""

    name = "ring"

    def __init__(self, options, picture):
        super().__init__("redis-ring.sock")
        self.length_s, self.keep_s = (40, 5) if options.quick else (300, 30)
        self.picture = picture if not options.quick else None

    def measure(self):
        if self.picture and not shutil.which("gnuplot"):
            raise BenchmarkFailed("gnuplot is not there to draw it (Debian package gnuplot-nox)")
        recording = FOLDER / "ring.rchk"
        recording.unlink(missing_ok=True)
        prefix = [process.RCHK, "record", "--keep", f"{self.keep_s}s", "-o", recording, "--"]
        samples = []
        with self.serving(prefix) as recorder:
            with subprocess.Popen(["redis-benchmark", "-s", self.socket, "-l", "-r", "100000",
                                   "-P", "10", "-c", "20", "-q", "-t", "set,get"], cwd=FOLDER,
                                  stdout=subprocess.DEVNULL) as load:
                start = time.perf_counter()
                try:
                    while (now := time.perf_counter() - start) < self.length_s:
                        samples.append((now, recording.stat().st_blocks * 512,
                                        resident_bytes(recorder.pid)))
                        time.sleep(1)
                finally:
                    load.kill()
        timed([process.RCHK, "verify", recording])
        recording.unlink()
        if self.picture:
            draw(samples, self.picture, self.keep_s)
        return [self.row("disk", [disk for _, disk, _ in samples]),
                self.row("memory of rchk", [memory for _, _, memory in samples])]

    def row(self, what, values):
        """Bounded: the second half needs no more than the first one did, but for a tenth."""
        first, second = max(values[:len(values) // 2]), max(values[len(values) // 2:])
        return Row(f"--keep {self.keep_s}s over {self.length_s} s of redis, {what}",
                   f"{first / 1e6:.0f} MB", f"{second / 1e6:.0f} MB", second / first, "1.10 x",
                   "ok" if second <= 1.1 * first else "over",
                   "at most, in the second half against the first one")


def resident_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return 1024 * int(re.search(r"^VmRSS:\s*(\d+)", status.read(), re.M).group(1))


def draw(samples, picture, keep_s):
    """A picture of what gnuplot makes of the samples."""
    points = FOLDER / "ring.dat"
    points.write_text("".join(f"{at:.1f} {disk / 1e6:.2f} {memory / 1e6:.2f}\n"
                              for at, disk, memory in samples))
    script = f"""
set terminal svg size 800,400 background "white"
set output "{picture}"
set title "rchk record --keep {keep_s}s redis-server, under load"
set xlabel "seconds"
set ylabel "MB"
set yrange [0:*]
set key outside
plot "{points}" using 1:2 with lines lw 2 title "recording on disk", \\
     "{points}" using 1:3 with lines lw 2 title "memory of rchk"
"""
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def benchmarks(options, picture):
    scale = 10 if options.quick else 1
    return [
        Overhead("cc1", program(lambda: cc1(not options.quick)), options, page_limit=600),
        Overhead("python_json", program(lambda: python_json(16000 // scale)), options),
        Overhead("sqlite", program(lambda: ["sqlite3", "-batch", ":memory:"],
                                   lambda: sql(1_000_000 // scale)), options),
        Overhead("redis_set", RedisSet(options), options, page_limit=150,
                 run_for_pages=RedisSet(options, together=1)),
        Pause(options),
        LastWrite(options),
        OpenAtEnd(options),
        Ring(options, picture),
    ]
