#!/usr/bin/python3
"""Runs the tests of every kind, and ends with one line that counts them. See ./dev test."""

import argparse
import importlib
import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

from harness import process  # noqa: E402
from harness.report import Runner  # noqa: E402

# In this order: what fails first explains what fails later.
PARTS = {
    "documents": "harness.documents",
    "unit": "harness.unit",
    "kernel": "kernel.tests",  # takes long, and one core: beside all others
    "record_replay": "record_replay.guests",
    "processes": "record_replay.processes",
    "chaos": "record_replay.chaos",
    "recordings": "record_replay.recordings",
    "filtered": "record_replay.filtered",
    "outsiders": "record_replay.outsiders",
    "keep": "record_replay.keep",
    "searches": "record_replay.searches",
    "programs": "record_replay.programs",
    "e2e": "e2e.tests",
    "suites": "record_replay.suites",  # only when asked for
}


def arguments():
    parser = argparse.ArgumentParser(prog="./dev test", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"parts ({', '.join(PARTS)}) or tests")
    parser.add_argument("--list", action="store_true", help="only name the tests")
    parser.add_argument("--jobs", type=int, default=min(4, len(os.sched_getaffinity(0))),
                        help="tests side by side; else as many as there are cores, 4 at most")
    parser.add_argument("--repeat", type=int, default=1, help="each record and replay N times")
    parser.add_argument(
        "--soak", type=int, default=0, metavar="N",
        help="each guest and program N times in a row, recorded and verified",
    )
    parser.add_argument("--full", action="store_true", help="programs at full size")
    parser.add_argument("--keep", action="store_true", help="keep recordings of what passes")
    return parser.parse_args()


def chosen(tests, names):
    if not names:
        return tests
    return [
        test for test in tests
        if any(test.name == name or test.name.startswith(name.rstrip("/") + "/")
               or test.name.startswith(name + ".") for name in names)
    ]


def main():
    options = arguments()
    os.environ.pop("DEBUGINFOD_URLS", None)
    # A shell or nohup ignores them for what runs in the background; so would all that is tested.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    tests = []
    for module in PARTS.values():
        tests += importlib.import_module(module).tests(options)
    tests = chosen(tests, options.names)
    if options.list:
        print("\n".join(test.name for test in tests))
        return 0
    if not tests:
        print(f"no test is named {' '.join(options.names)}", file=sys.stderr)
        return 2
    if not process.RCHK.exists():
        print(f"there is no {process.RCHK}; ./dev build makes it", file=sys.stderr)
        return 2
    runner = Runner(options.jobs)
    runner.run(tests)
    return runner.summary()


if __name__ == "__main__":
    sys.exit(main())
