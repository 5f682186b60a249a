"""A signal that stopped the program stops it again, when it comes there once more from the past."""

from gdb_side import MODE, check, check_equal, go, line_of, run_to, skip, value

PROGRAM_SOURCE = "signals.c"


def run():
    if MODE == "native":
        skip("gdb record replays no signals")
    text = go("continue")
    check("received signal" in text, text)
    first = text.split("received signal")[1].split(",")[0]
    for way in (["continue"], ["stepi", "continue"], ["stepi", "stepi"]):
        go("reverse-stepi")
        for command in way:
            text = go(command)
        check(f"received signal{first}" in text, f"{way}: {text!r}")
