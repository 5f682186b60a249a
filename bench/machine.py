"""The machine, described as far as it matters to figures, and without its name."""

import os
import re
import subprocess
import sys
import time


def work_of_two_cores():
    """How much more two cores do at the same time than one: 2 where they have nothing in common,
    hardly more than 1 where they are two threads of one. None on one core."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        return None

    def seconds(used):
        begin = time.monotonic()
        running = [subprocess.Popen(["taskset", "-c", str(core), sys.executable, "-c",
                                     "for i in range(10**7): pass"]) for core in used]
        for one in running:
            one.wait()
        return time.monotonic() - begin

    alone = min(seconds(cores[:1]) for _ in range(3))
    both = min(seconds(cores) for _ in range(3))
    return 2 * alone / both


def description():
    together = work_of_two_cores()
    with open("/proc/cpuinfo", encoding="ascii") as cpuinfo:
        found = re.search(r"^model name\s*: (.*)$", cpuinfo.read(), re.M)
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        kilobytes = int(re.search(r"^MemTotal:\s*(\d+)", meminfo.read()).group(1))
    kernel = re.match(r"\d+\.\d+", os.uname().release).group(0)
    virtual = subprocess.run(["grep", "-q", "^flags.*hypervisor", "/proc/cpuinfo"], check=False)
    two = f", two of which do {together:.1f} times what one does" if together else ""
    return (f"{os.cpu_count()} cores ({found.group(1) if found else 'unknown processor'}{two}), "
            f"{kilobytes / 1e6:.0f} GB, Linux {kernel}"
            f"{', in a virtual machine' if virtual.returncode == 0 else ''}")
