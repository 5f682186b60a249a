"""What users ask of a session: info, x, disassemble, exec-direction, tstatus."""

import gdb
from gdb_side import MODE, check, check_equal, go, run_to, skip, value

PROGRAM_SOURCE = "calls.c"


def refused(command, words):
    try:
        text = go(command)
    except gdb.error as error:
        text = str(error)
    check(words in text, f"{command}: {text!r}")


def run():
    if MODE == "native":
        skip("not for gdb record")
    run_to("call_scoped")
    check("AT_PHDR" in go("info auxv"), "no auxiliary vector")
    mappings = go("info proc mappings")
    check("/calls" in mappings and "[stack]" in mappings, f"no mappings: {mappings!r}")
    check("process" in go("info inferiors"), "no inferior")
    check("main" in go("info frame") or "rip" in go("info frame"), "no frame")
    check("No record" in go("info record"), "a recording of gdb's own")
    check("libc" in go("info sharedlibrary"), "no libraries")
    check("call" in go("disassemble /r main"), "no disassembly")
    refused("x/4x 0x10", "Cannot access memory")
    refused("tstatus", "Trace can not be run on this target")
    refused("monitor nonsense", "there is no command")
    check("position" in go("monitor when"), "no position")
    go("monitor bookmark here")
    run_to("write")
    go("monitor goto here")
    go("maintenance flush register-cache")
    check_equal("numbers are unsorted no more", 1, value("numbers[0]"))
    check("frame" in go("info line") or "Line" in go("info line"), "no line")
    check_equal("sizeof", 24, int(gdb.parse_and_eval("sizeof numbers")))
    memory = gdb.selected_inferior().read_memory(value("(long)&numbers"), 24)
    check_equal("by Python", 1, int.from_bytes(bytes(memory[0:4]), "little"))
