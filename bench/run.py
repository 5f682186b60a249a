#!/usr/bin/python3
"""Measures rchk against native runs of the same programs, and against the bars it sets itself.

Native and recorded runs take turns, and the fastest are compared: a busy machine makes runs slower,
never faster. Prints a table and writes docs/benchmarks.md. See ./dev bench."""

import argparse
import datetime
import pathlib
import sys

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "tests"))

import debugging  # noqa: E402
import machine  # noqa: E402
import running  # noqa: E402
import serving  # noqa: E402
import snapshots  # noqa: E402
from row import Row, table  # noqa: E402

ROOT = HERE.parent


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these (a part of the name will do)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work; no document")
    parser.add_argument("--repeats", type=int, default=0, help="runs of each kind (default 5)")
    parser.add_argument("--list", action="store_true", help="only name the benchmarks")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "docs" / "benchmarks.md",
                        help="the document to write")
    return parser.parse_args()


def main():
    options = arguments()
    options.repeats = options.repeats or (2 if options.quick else 5)
    benchmarks = [*running.benchmarks(options), serving.Redis(options),
                  *debugging.benchmarks(options),
                  *snapshots.benchmarks(options, ROOT / "docs" / "ring.svg")]
    if options.names:
        benchmarks = [each for each in benchmarks
                      if any(name in each.name for name in options.names)]
    if options.list:
        print("\n".join(each.name for each in benchmarks))
        return 0
    rows = []
    for benchmark in benchmarks:
        print(f"... {benchmark.name}", file=sys.stderr, flush=True)
        try:
            measured = benchmark.measure()
        except Exception as error:  # one that cannot be measured must not hide the others
            measured = [Row(benchmark.name, verdict="failed", note=first_line(error))]
        rows += measured
        # All takes an hour: whoever watches, or ends it, has what there is.
        print("\n".join(table(measured).splitlines()[2:]), file=sys.stderr, flush=True)
    text = table(rows)
    print(machine.description())
    print(text)
    if not options.quick and not options.names:
        write_document(options.output, text)
    return 1 if any(row.verdict in ("failed", "over") for row in rows) else 0


def first_line(error):
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:160]


def write_document(path, text):
    date = datetime.date.today().isoformat()
    path.write_text(f"""# Benchmarks

Measured on {date} with `./dev bench`, on {machine.description()}.

A ratio is the fastest time with rchk over the fastest of native runs that took turns with it (of
redis, and inside the debugger, medians); the other columns are the times themselves. The bar is what rchk sets itself. Ratios carry over to
other machines, absolute times do not.

{text}

`record` is `rchk record PROGRAM`; `replay` is `rchk replay -a` of that recording; `size` is the
recording's. The debugger's times are measured inside gdb, so that gdb's own work counts.

![rchk record --keep 30s over five minutes of redis](ring.svg)
""")


if __name__ == "__main__":
    sys.exit(main())
