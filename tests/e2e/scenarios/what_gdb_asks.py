"""Libraries, the auxiliary vector, memory and the current position."""

import gdb
from gdb_side import check, go, run_to


def run():
    run_to("end")
    check("libc.so" in go("info sharedlibrary"), "the C library is not listed")
    check("AT_ENTRY" in go("info auxv"), "no auxiliary vector")
    check("Thread" in go("info threads") or "process" in go("info threads"), "no threads")
    check(len(go("disassemble $pc,+16")) > 20, "no disassembly")
    try:
        go("x/1xb 0x10")
        check(False, "unmapped memory was read")
    except gdb.MemoryError:
        pass
    check("main" in go("bt"), "no backtrace")
