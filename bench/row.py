"""One line of the table."""

from dataclasses import dataclass
from typing import Optional


@dataclass
class Row:
    name: str
    native: str = ""           # the time that it is compared with
    measured: str = ""
    ratio: Optional[float] = None
    bar: str = ""
    verdict: str = ""          # "ok", "over", "failed", or empty without a bar
    note: str = ""


def judged(name, *, native_s, measured_s, bar, note=""):
    """A row whose bar is a ratio."""
    ratio = measured_s / native_s if native_s > 0 else float("inf")
    return Row(name, seconds(native_s), seconds(measured_s), ratio,
               f"{bar:.2f} x" if bar else "",
               ("ok" if ratio <= bar else "over") if bar else "", note)


def limited(name, *, measured_s, limit_s, native_s=None, note=""):
    """A row whose bar is a time."""
    return Row(name, seconds(native_s) if native_s is not None else "", seconds(measured_s), None,
               seconds(limit_s), "ok" if measured_s <= limit_s else "over", note)


def seconds(value):
    if value is None:
        return ""
    if value >= 0.9995:
        return f"{value:.2f} s"
    if value >= 0.01:
        return f"{value * 1e3:.0f} ms"
    return f"{value * 1e3:.2f} ms"


def table(rows):
    head = ["what", "native", "measured", "ratio", "bar", "verdict", "note"]
    lines = [[row.name, row.native, row.measured,
              "" if row.ratio is None else f"{row.ratio:.2f}", row.bar, row.verdict,
              row.note.replace("|", "/")] for row in rows]
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]

    def one(cells):
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([one(head), rule, *map(one, lines)])
