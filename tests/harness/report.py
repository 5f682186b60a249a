"""Tests, their results and the line that sums them up."""

import concurrent.futures
import pathlib
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Callable, List

from harness import process


class Failed(Exception):
    """The text says what was expected and what was found."""


class Skipped(Exception):
    """The text says what is missing."""


@dataclass
class Test:
    """`body` raises Failed or Skipped, or returns. It may return how many cases it stands for."""

    name: str
    body: Callable
    needs_quiet: bool = False  # not beside others: it measures time


@dataclass
class Tally:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: List[str] = field(default_factory=list)  # name and what was seen


def known_failures():
    """Name to reason."""
    known = {}
    path = process.ROOT / "tests" / "known_failures.txt"
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, reason = line.strip().partition(" ")
            known[name] = reason.strip()
    return known


def shortened(text, first, last):
    """The first and the last lines of a text, indented: what was run, and what was wrong."""
    lines = text.rstrip().splitlines()
    left_out = len(lines) - first - last
    if left_out > 1:
        lines[first : first + left_out] = [f"... {left_out} more lines"]
    return "\n".join("      " + line for line in lines)


class Runner:
    def __init__(self, jobs=1):
        self.jobs = jobs
        self.tally = Tally()
        self.known = known_failures()
        self.lock = threading.Lock()

    def run(self, tests):
        side_by_side = [test for test in tests if not test.needs_quiet]
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            list(pool.map(self.run_one, side_by_side))
        for test in tests:
            if test.needs_quiet:
                self.run_one(test)

    def run_one(self, test):
        start = time.monotonic()
        cases, verdict, text = 1, "pass", ""
        try:
            cases = test.body() or 1
        except Failed as failure:
            verdict, text = "FAIL", str(failure)
        except Skipped as skipped:
            verdict, text = "skip", str(skipped)
        except Exception as error:  # a broken test is a failing one
            verdict, text = "FAIL", f"{type(error).__name__}: {error}"
        self.count(test.name, verdict, text, cases, time.monotonic() - start)

    def count(self, name, verdict, text, cases, seconds):
        reason = self.known.get(name)
        if reason is not None and verdict == "FAIL":
            verdict, text = "skip", f"known failure: {reason}"
        elif reason is not None and verdict == "pass":
            verdict, text = "FAIL", "passes, and tests/known_failures.txt lists it"
        with self.lock:
            if verdict == "pass":
                self.tally.passed += cases
                print(f"pass  {name}  ({seconds:.1f} s)")
            elif verdict == "skip":
                self.tally.skipped += 1
                print(f"skip  {name}: {text}")
            else:
                self.tally.failed += 1
                self.tally.failures.append(f"{name}\n{shortened(text, 3, 12)}")
                print(f"FAIL  {name}  ({seconds:.1f} s)\n{shortened(text, 20, 40)}")
                print(f"      shown by: ./dev test {name}")
            sys.stdout.flush()

    def summary(self):
        tally = self.tally
        for failure in tally.failures:
            print(f"failed: {failure}")
        print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
        return 1 if tally.failed or not tally.passed else 0


def check_equal(what, expected, found, shown_by=""):
    if expected != found:
        message = f"{what}: expected {abridged(expected)}, found {abridged(found)}"
        raise Failed(message + (f"\nshown by: {shown_by}" if shown_by else ""))


def abridged(value, limit=600):
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + f"... ({len(text)} characters)"


def require(condition, message):
    if not condition:
        raise Failed(message)


def scratch(name):
    """A folder of the test's own, empty."""
    folder = process.WORK / "tests" / pathlib.Path(name)
    if folder.exists():
        for each in sorted(folder.rglob("*"), reverse=True):
            each.unlink() if not each.is_dir() or each.is_symlink() else each.rmdir()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
