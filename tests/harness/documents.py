"""Documents that would go stale are checked against what they speak of."""

import re

from harness import guests, process
from harness.report import Test, known_failures, require
from record_replay import programs

MATRIX = process.ROOT / "docs" / "support-matrix.md"


def tests(_options):
    return [Test("documents/support_matrix", check_matrix)]


def check_matrix():
    """Every guest and program has its place in the matrix, with the state that the tests show."""
    stops = {guest.name: guest.stops is not None for guest in guests.all_guests()}
    stops.update({f"programs/{name}": False for name in programs.PROGRAMS})
    failing = {name.removeprefix("record_replay/") for name in known_failures()}
    seen = set()
    for line in MATRIX.read_text().splitlines():
        if not line.startswith("| ") or line.startswith(("| what", "| ---")):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        state = cells[1]
        require(state in ("supported", "partly", "stops", "planned", "not planned"),
                f"{cells[0]}: there is no state '{state}'")
        named = re.findall(r"`((?:programs/)?[a-z0-9_]+)`", cells[2]) if len(cells) > 2 else []
        require(bool(named) == (state in ("supported", "partly", "stops")),
                f"{cells[0]}: {state}, shown by {named}")
        known = sorted(failing & set(named))
        require(bool(known) == (state == "partly"), f"{cells[0]}: {state}, and fails: {known}")
        for name in named:
            require(name in stops, f"{cells[0]}: there is no guest {name}")
            require(state == "partly" or stops[name] == (state == "stops"),
                    f"{cells[0]} is '{state}', and its guest {name} says otherwise")
            seen.add(name)
    require(seen == set(stops), f"without a place: {sorted(set(stops) - seen)}")
