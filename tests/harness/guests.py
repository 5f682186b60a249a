"""The guests of tests/guests: found by glob, described by the comments they begin with.

    // build: -O2 -static        flags of the compiler
    // args: one two             arguments
    // stdin: text               what it reads, \\n and the like as in C
    // status: 3                 its exit status (default 0); SIGxxx for a death by signal
    // kill: SIGTERM             sent to it from outside once it has written "ready"
    // stops: reason             what makes rchk stop recording it; it then runs on natively
    // needs: flag               of /proc/cpuinfo; skipped on a processor without it
    // record: --snapshots 50    options of `rchk record` (tests/e2e/programs only)
    // varies: why               its output differs from run to run; a replay must still repeat it
"""

import os
import pathlib
import shlex
import signal
import subprocess
from dataclasses import dataclass, field
from typing import List, Optional

from harness import process
from harness.making import making
from harness.report import Failed, Skipped

FOLDER = process.ROOT / "tests" / "guests"
COMPILERS = {".c": "gcc", ".cpp": "g++", ".S": "gcc"}
KEYS = ("build", "args", "stdin", "status", "kill", "stops", "needs", "record", "varies")


@dataclass
class Guest:
    source: pathlib.Path
    build: List[str] = field(default_factory=list)
    args: List[str] = field(default_factory=list)
    stdin: bytes = b""
    status: int = 0
    kill: Optional[int] = None
    stops: Optional[str] = None
    needs: Optional[str] = None
    record: List[str] = field(default_factory=list)
    varies: bool = False

    @property
    def name(self):
        return self.source.stem

    def program(self):
        """Builds the guest when its source is newer, and returns the program."""
        if self.needs and self.needs not in cpu_flags():
            raise Skipped(f"this processor has no {self.needs}")
        return compile_program(self.source, process.WORK / "guests" / self.name, self.build)


def cpu_flags():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return line.split(":", 1)[1].split()
    return []


def compile_program(source, program, flags):
    with making(program):
        return compiled(source, program, flags)


def compiled(source, program, flags):
    inputs = [source, *source.parent.glob("*.h")]
    if program.exists() and all(program.stat().st_mtime > each.stat().st_mtime for each in inputs):
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    fresh = program.with_name(f".{program.name}.{os.getpid()}")
    command = [COMPILERS[source.suffix], "-g", *flags, "-o", str(fresh), str(source)]
    # Libraries have to come behind the source that uses them.
    command += [flag for flag in flags if flag.startswith("-l")]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{process.shell_line(command)}\n{done.stderr.decode(errors='replace')}")
    fresh.rename(program)
    return program


def parse_status(text):
    if text.startswith("SIG"):
        return 128 + int(getattr(signal, text))
    return int(text)


def parse(source):
    guest = Guest(source)
    for line in source.read_text().splitlines():
        if not line.startswith("//"):
            break
        key, separator, value = line[2:].strip().partition(":")
        value = value.strip()
        if not separator or key not in KEYS:
            continue
        if key in ("build", "args", "record"):
            setattr(guest, key, shlex.split(value))
        elif key == "stdin":
            guest.stdin = value.encode().decode("unicode_escape").encode("latin-1")
        elif key == "kill":
            guest.kill = int(getattr(signal, value))
        elif key == "varies":
            guest.varies = True
        elif key == "status":
            guest.status = parse_status(value)
        else:
            setattr(guest, key, value)
    return guest


def all_guests():
    sources = [path for path in FOLDER.iterdir() if path.suffix in COMPILERS]
    return [parse(path) for path in sorted(sources)]


def named(name):
    return next(guest for guest in all_guests() if guest.name == name)
