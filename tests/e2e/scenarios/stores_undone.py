"""reverse-stepi over stores of every kind: memory is as it was. What only stores is no read."""

import gdb
from gdb_side import LIVE, check, check_equal, go, pc, value


def memory():
    inferior = gdb.selected_inferior()
    places = ((value("(long)&area"), 512), (value("(long)$sp") - 64, 128))
    return [bytes(inferior.read_memory(address, size)) for address, size in places]


PROGRAM_SOURCE = "stores.c"


def run():
    for name in ("scalar", "floating", "environments", "avx", "avx512"):
        if name.startswith("avx") and not value(f"has_{name}") or name == "environments" and LIVE:
            continue
        go(f"tbreak {name}")
        go("continue")
        seen = []
        while not gdb.execute("x/i $pc", to_string=True).rstrip().endswith("ret"):
            seen.append((pc(), memory()))
            go("stepi")
            check(len(seen) < 400, "no end")
        for at, expected in reversed(seen):
            go("reverse-stepi")
            check_equal("pc", hex(at), hex(pc()))
            check(memory() == expected, gdb.execute("x/i $pc", to_string=True))
    go("tbreak done")
    go("continue")
    go("rwatch *(int*)(area + 32)")  # stored to only, but for cmpxchg16b in scalar()
    go("tbreak floating")
    text = go("reverse-continue")
    check("read watchpoint" not in text, text)
