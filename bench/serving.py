"""A server under load, native and recorded in turn: the time that its clients need."""

import contextlib
import statistics
import subprocess
import time

from harness import process
from record_replay.servers import when_ready
from row import Row, judged
from running import FOLDER, BenchmarkFailed, timed


class Server:
    """A redis-server of its own."""

    def __init__(self, socket):
        self.socket = socket

    @contextlib.contextmanager
    def serving(self, prefix):
        """Runs it behind `prefix`, a recorder's command, and ends it."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / self.socket).unlink(missing_ok=True)
        command = [str(word) for word in
                   [*prefix, "redis-server", "--port", "0", "--unixsocket", self.socket, "--save",
                    "", "--dir", "."]]
        with subprocess.Popen(command, cwd=FOLDER, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                when_ready(lambda: self.ask("ping"), lambda: server.poll() is None)
                yield server
                subprocess.run(["redis-cli", "-s", self.socket, "shutdown", "nosave"], cwd=FOLDER,
                               check=False, capture_output=True, timeout=60)
                if server.wait(timeout=120) != 0:
                    raise BenchmarkFailed(f"status {server.returncode} of "
                                          f"{process.shell_line(command)}")
            finally:
                server.kill()

    def ask(self, *words):
        done = subprocess.run(["redis-cli", "-s", self.socket, *words], cwd=FOLDER, timeout=60,
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OSError(done.stderr)
        return done.stdout


class Redis(Server):
    """redis-server under redis-benchmark, with a SAVE at the end. Published, without a bar."""

    def __init__(self, options):
        super().__init__("redis.sock")
        self.name = "redis"
        self.options = options

    def measure(self):
        FOLDER.mkdir(parents=True, exist_ok=True)
        recording = FOLDER / "redis.rchk"
        record = [process.RCHK, "record", "-o", recording, "--"]
        times = {"native": [], "record": [], "replay": []}
        failure = None
        for _ in range(self.options.repeats):
            times["native"].append(self.served([]))
            recording.unlink(missing_ok=True)
            times["record"].append(self.served(record))
            if failure is None:
                try:
                    times["replay"].append(timed([process.RCHK, "replay", "-a", recording]))
                except (BenchmarkFailed, subprocess.TimeoutExpired) as error:
                    failure = error
        size = recording.stat().st_size
        recording.unlink()
        native = statistics.median(times["native"])
        count = self.requests() * 3
        note = (f"{count / native:,.0f} requests/s native, "
                f"{count / statistics.median(times['record']):,.0f} recorded; {size / 1e6:.2f} MB")
        rows = [judged("record redis", native_s=native,
                       measured_s=statistics.median(times["record"]), bar=None, note=note)]
        if failure is not None:
            return rows + [Row("replay redis", verdict="failed", note=str(failure)[:160])]
        return rows + [judged("replay redis", native_s=native,
                              measured_s=statistics.median(times["replay"]), bar=None)]

    def requests(self):
        return 10_000 if self.options.quick else 50_000

    def served(self, prefix):
        """Starts the server, loads it and ends it; returns the seconds that the load took."""
        with self.serving(prefix):
            start = time.perf_counter()
            subprocess.run(["redis-benchmark", "-s", self.socket, "-n", str(self.requests()),
                            "-c", "20", "-q", "-t", "set,get,incr"],
                           cwd=FOLDER, check=True, stdout=subprocess.DEVNULL, timeout=600)
            self.ask("save")
            return time.perf_counter() - start
