"""One program, native and in every mode of rchk, compared."""

import os
import pathlib
import shutil
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import Callable, List, Optional

from harness import process
from harness.report import Failed, Skipped, check_equal, require, scratch


@dataclass
class Subject:
    """A program with everything that a run of it needs."""

    name: str
    command: List[str]
    stdin: bytes = b""
    status: Optional[int] = 0          # what a native run must end with; None: anything
    kill: Optional[int] = None         # sent to the process whose pid is in the file `ready`
    stops: bool = False                # recording ends early, the program does not
    varies: bool = False               # its output differs from run to run
    timeout: float = 60
    prepare: Optional[Callable] = None  # called with a fresh working directory
    environment: dict = field(default_factory=dict)
    files: List[str] = field(default_factory=list)  # that it makes, the same in every run
    # Called beside a run with its working directory and `running()`, which says whether it goes
    # on. It ends the program, and returns what it got from it, the same in every run.
    client: Optional[Callable] = None
    needs: List[str] = field(default_factory=list)  # programs without which the test is skipped
    record_options: List[str] = field(default_factory=list)


class Cycle:
    def __init__(self, subject, keep=False):
        self.subject = subject
        self.keep = keep
        self.folder = scratch(subject.name)
        self.recording = self.folder / "recording.rchk"

    def run(self, repeat=1, soak=0):
        for program in self.subject.needs:
            if shutil.which(program) is None:
                raise Skipped(f"{program} is not installed")
        native = self.run_native()
        if native.stdout.split()[-1:] == [b"skipped"]:
            raise Skipped("the guest says that this machine lacks what it needs")
        for _ in range(soak or repeat):
            recorded = self.record(native)
            self.verify()
            if not soak:
                self.replay(recorded)
                self.replay_each()
            self.recording.unlink(missing_ok=True) if not self.keep else None
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        return 1

    def execute(self, what, command, cwd):
        shutil.rmtree(cwd, ignore_errors=True)
        cwd.mkdir(parents=True)
        if self.subject.prepare:
            self.subject.prepare(cwd)
        beside = Beside(self.subject, cwd)
        done = process.run(
            command, stdin=self.subject.stdin, timeout=self.subject.timeout, cwd=cwd,
            env={**os.environ, **self.subject.environment}, during=beside.act,
        )
        if done.timed_out:
            raise Failed(f"{what}: no end after {process.PATIENCE * self.subject.timeout:.0f} s\n"
                         f"command: {done.shell()}\n{done.stacks}")
        require(not done.left, f"{what}: still running at its end: {done.left}\n{done.shell()}")
        self.last_results = [beside.result(what)] + [
            (cwd / name).read_bytes() if (cwd / name).exists() else None
            for name in self.subject.files]
        return done

    def run_native(self):
        # The same folder in every mode: programs print and measure paths.
        native = self.execute("native", self.subject.command, self.folder / "work")
        if self.subject.status is not None:
            check_equal("native: exit status", self.subject.status, native.status,
                        f"{native.shell()}\n{native.stderr[-1000:].decode(errors='replace')}")
        require(None not in self.last_results[1:], f"native: no {self.subject.files}")
        self.native_results = self.last_results
        return native

    def record(self, native):
        # RCHK_TEST_RECORD="--agent-after 0" gives each program an agent from its first call on.
        command = [process.RCHK, "record", *self.subject.record_options,
                   *os.environ.get("RCHK_TEST_RECORD", "").split(), "-o", self.recording,
                   "--", *self.subject.command]
        done = self.execute("record", command, self.folder / "work")
        own, guest_stderr = split_stderr(done.stderr)
        self.own_messages = own
        notes = f"{done.shell()}\n{own}"
        printed = (done.stdout[-500:] + guest_stderr[-500:]).decode(errors="replace")
        check_equal("record: exit status", native.status, done.status, f"{notes}\n{printed}")
        if not self.subject.varies:
            check_equal("record: output", native.stdout, done.stdout, notes)
            check_equal("record: errors", split_stderr(native.stderr)[1], guest_stderr, notes)
        for name, expected, found in zip(["client", *self.subject.files], self.native_results,
                                         self.last_results):
            check_equal(f"record: {name}", expected, found, notes)
        require(self.recording.exists(), f"record: no recording was written\n{notes}")
        if self.subject.stops:
            require(own, f"record: stopped recording without a word\nshown by: {done.shell()}")
        return done

    def verify(self):
        # Where they are taken often, page snapshots are restored as well.
        restore = ["--restore"] if "--snapshots" in self.subject.record_options else []
        self.replay_mode("verify", [process.RCHK, "verify", *restore, self.recording], 0)

    def replay(self, recorded):
        # With many page snapshots, by several processes that each begin at one.
        jobs = ["--jobs", "3"] if "--snapshots" in self.subject.record_options else []
        command = [process.RCHK, "replay", "-a", *jobs, self.recording]
        if self.subject.stops:
            done = self.replay_mode("replay", command, None)
            require(done.status not in (2, 3, 4), f"replay: status {done.status}\n{done.shell()}")
            require(recorded.stdout.startswith(done.stdout),
                    f"replay: output is not how the recorded one began: {done.stdout[-300:]!r}")
            return
        done = self.replay_mode("replay", command, recorded.status)
        own, guest_stderr = split_stderr(done.stderr)
        notes = f"{done.shell()}\n{own}"
        check_equal("replay: output", recorded.stdout, done.stdout, notes)
        check_equal("replay: errors", split_stderr(recorded.stderr)[1], guest_stderr, notes)

    def replay_each(self):
        """Each of several processes by itself, as a debugger replays it."""
        most = 40
        listed = process.run([process.RCHK, "ps", self.recording], timeout=60)
        lines = [line.split() for line in listed.stdout.decode(errors="replace").splitlines()]
        found = [words for words in lines if words and words[0].isdigit()]
        for pid, _, status in (words[:3] for words in found[:most] if len(found) > 1):
            command = [process.RCHK, "replay", "-a", "-p", pid, self.recording]
            done = self.replay_mode(f"replay of {pid}", command, None)
            own, _ = split_stderr(done.stderr)
            notes = f"{done.shell()}\n{own}"
            if done.status == 2 and "executed no program" in own:
                continue
            if status.startswith("SIG"):
                status = 128 + signal.Signals[status]
            if not self.subject.stops:
                require(not own, f"replay of {pid}: {notes}")
            if str(status).isdigit():
                check_equal(f"replay of {pid}: exit status", int(status), done.status, notes)

    def replay_mode(self, what, command, status):
        # Not in the recorded folder: a replay must not need what the program read there.
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        shutil.rmtree(self.folder / "work", ignore_errors=True)
        timeout = 4 * self.subject.timeout
        done = process.run(command, timeout=timeout, cwd=elsewhere)
        if done.timed_out:
            raise Failed(f"{what}: no end after {process.PATIENCE * timeout:.0f} s\n"
                         f"command: {done.shell()}\n{done.stacks}")
        require(not done.left, f"{what}: still running at its end: {done.left}\n{done.shell()}")
        if status is not None and done.status != status:
            errors = done.stderr.decode(errors="replace")[-3000:]
            check_equal(f"{what}: exit status", status, done.status, f"{done.shell()}\n{errors}")
        return done


class Beside:
    """What is done to a running program from outside: a signal, or a client."""

    def __init__(self, subject, cwd):
        self.subject = subject
        self.cwd = cwd
        self.returned = None
        self.error = None
        self.done = threading.Event()

    def act(self, running):
        try:
            if self.subject.kill:
                self.send_kill(running)
            if self.subject.client:
                self.returned = self.subject.client(self.cwd, lambda: running.poll() is None)
        except Exception as error:  # must reach the test, which runs in another thread
            self.error = error
        finally:
            self.done.set()

    def send_kill(self, running):
        while running.poll() is None:
            try:
                pid = int((self.cwd / "ready").read_text())
                time.sleep(0.05)  # into the middle of what it computes
                os.kill(pid, self.subject.kill)
                return
            except (OSError, ValueError):
                time.sleep(0.01)

    def result(self, what):
        if self.subject.client:
            require(self.done.wait(10), f"{what}: the client does not end")
        if self.error is not None:
            raise Failed(f"{what}: client: {type(self.error).__name__}: {self.error}")
        return self.returned


def split_stderr(stderr):
    """What rchk itself said, and what the guest wrote."""
    lines = stderr.splitlines(keepends=True)
    own = [line for line in lines if line.startswith(b"rchk:")]
    guest = [line for line in lines if not line.startswith(b"rchk:")]
    return b"".join(own).decode(errors="replace"), b"".join(guest)


def input_folder():
    folder = pathlib.Path(process.WORK) / "inputs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
