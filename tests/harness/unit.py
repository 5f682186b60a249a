"""What ctest knows, run one by one so that each has a time limit that leaves stacks behind."""

import json
import pathlib
import re
import subprocess
import tempfile

from harness import process
from harness.report import Failed, Test

TIMEOUT_S = 300


def tests(_options):
    build = process.BUILD / "release"
    listing = subprocess.run(
        ["ctest", "--test-dir", str(build), "--show-only=json-v1"],
        capture_output=True, check=True,
    )
    found = []
    for entry in json.loads(listing.stdout)["tests"]:
        name = "unit/" + entry["name"].removeprefix("unit.")
        properties = {each["name"]: each["value"] for each in entry.get("properties", [])}
        found.append(Test(name, lambda e=entry, p=properties: run_test(e, p)))
    return found


def run_test(entry, properties):
    """Runs one entry of ctest; returns how many GoogleTest cases passed in it."""
    if "command" not in entry:
        raise Failed(f"{entry['name']} was not built")
    environment = None
    timeout = float(properties.get("TIMEOUT", TIMEOUT_S))
    # Into a file: a stopped process that a test leaves behind would hold a pipe open for ever.
    with tempfile.NamedTemporaryFile() as output:
        done = process.run(
            ["sh", "-c", 'exec "$@" > "$0" 2>&1', output.name, *entry["command"]],
            timeout=timeout, env=environment, cwd=properties.get("WORKING_DIRECTORY"),
        )
        text = pathlib.Path(output.name).read_text(errors="replace")
    if done.timed_out:
        raise Failed(f"no end after {process.PATIENCE * timeout:.0f} s\nshown by: {done.shell()}\n{done.stacks}")
    if done.status != 0:
        raise Failed(f"status {done.status}\nshown by: {done.shell()}\n{failing_cases(text)}")
    passed = re.search(r"\[  PASSED  \] (\d+) tests?", text)
    return int(passed.group(1)) if passed else 1


def failing_cases(text):
    """Of GoogleTest's output, what belongs to cases that failed; of others, the end."""
    blocks = re.findall(r"\[ RUN      \] (?:(?!\[ RUN      \]|\[       OK \]).)*?\[  FAILED  \][^\n]*",
                        text, re.S)
    return "\n".join(blocks) or text[-3000:]
