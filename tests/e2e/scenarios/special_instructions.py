"""stepi over system calls, cpuid, rdtsc and rep, and back: the same registers and memory."""

from gdb_side import MODE, check, check_equal, go, memory_checksum, pc, registers, skip, value

PROGRAM_SOURCE = "instructions.c"


def run():
    if MODE == "native":
        skip("gdb's own record reads the counter anew")
    go("tbreak special")
    go("continue")
    code = go("x/20i special")
    check("cpuid" in code and "rdtsc" in code, "the code shows what rchk did to it")
    code = go("x/4i lookalikes")
    for constant in ("0x11080f22", "0x11090f22", "0xf8010f22"):
        check(constant in code, f"the code is not shown as it is:\n{code}")
    areas = [(value(f"(long)&{name}"), 300) for name in ("from", "to", "pid")]
    states = []
    end = value("(long)&at_return")
    while True:
        states.append((registers(), memory_checksum(areas)))
        if pc() == end:
            break
        go("stepi")
        check(len(states) < 40, "a string instruction takes more than a step")
    check_equal("copied", 3, value("to[299]"))
    for expected in reversed(states[:-1]):
        go("reverse-stepi")
        check_equal("backward", expected, (registers(), memory_checksum(areas)))
    for expected in states[1:]:
        go("stepi")
        check_equal("forward", expected, (registers(), memory_checksum(areas)))
