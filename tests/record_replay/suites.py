"""Tests of others, recorded and verified: each stressor of stress-ng, each module of CPython's own.

Nobody wrote them with a recorder in mind. They take an hour and more, so that only their names run
them: ./dev test suites, ./dev test suites/stress_ng/fork.
"""

import os
import pathlib
import shutil
import signal
import subprocess

from harness import process
from harness.report import Failed, Skipped, Test

PYTHON_TESTS = pathlib.Path("/usr/lib/python3.11/test")
# What fills the disk or memory of whoever else is here, or needs what is refused (AIO, ptrace).
STRESSORS_LEFT_OUT = {"aiol", "forkheavy", "oom-pipe", "resources", "rlimit", "vm-segv"}
# Natively longer than this they say nothing new.
LONGEST_NATIVE_S = 25


def tests(options):
    if not any(name.split("/")[0] == "suites" for name in options.names):
        return []
    return stress_ng() + python()


def stress_ng():
    if shutil.which("stress-ng") is None:
        return [Test("suites/stress_ng", lambda: skip("there is no stress-ng"))]
    asked = subprocess.run(["stress-ng", "--stressors"], capture_output=True, text=True, check=False)
    names = [name for name in asked.stdout.split() if name not in STRESSORS_LEFT_OUT]
    return [Test(f"suites/stress_ng/{name}", lambda name=name: cycle(
        f"stress_ng-{name}", ["stress-ng", f"--{name}", "1", f"--{name}-ops", "10", "-t", "2"]))
            for name in names]


def python():
    if not (PYTHON_TESTS / "regrtest.py").exists():
        return [Test("suites/python", lambda: skip("there is no libpython3.11-testsuite"))]
    names = sorted(path.stem for path in PYTHON_TESTS.glob("test_*") if path.suffix in ("", ".py"))
    return [Test(f"suites/python/{name}", lambda name=name: cycle(
        f"python-{name}", ["/usr/bin/python3", "-m", "test", "-q", name])) for name in names]


def skip(reason):
    raise Skipped(reason)


def cycle(name, command):
    """The recorded run ends as the native one, and what was recorded replays with every check."""
    folder = process.WORK / "tests" / f"suites-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    recording = folder / "recording.rchk"
    environment = dict(os.environ, PYTHONHASHSEED="0")
    native = process.run(command, cwd=folder, env=environment, timeout=LONGEST_NATIVE_S)
    if native.timed_out:
        raise Skipped(f"takes longer than {LONGEST_NATIVE_S} s natively")
    recorded = process.run([process.RCHK, "record", "-o", recording, "--", *command], cwd=folder,
                           env=environment, timeout=400)
    expect(recorded, native.status)
    expect(process.run([process.RCHK, "verify", recording], cwd=folder, timeout=1200), 0)
    shutil.rmtree(folder, ignore_errors=True)


def expect(outcome, status):
    if outcome.timed_out:
        raise Failed(f"timed out\nshown by: {outcome.shell()}\n{outcome.stacks}")
    if outcome.status != status:
        told = (outcome.stdout + outcome.stderr).decode(errors="replace")
        how = signal.Signals(outcome.status - 128).name if 128 < outcome.status < 160 else ""
        raise Failed(f"status {outcome.status} {how} instead of {status}\n"
                     f"shown by: {outcome.shell()}\n{told}")
