"""The machine, described as far as it matters to figures, and without its name."""

import os
import re
import subprocess


def description():
    with open("/proc/cpuinfo", encoding="ascii") as cpuinfo:
        found = re.search(r"^model name\s*: (.*)$", cpuinfo.read(), re.M)
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        kilobytes = int(re.search(r"^MemTotal:\s*(\d+)", meminfo.read()).group(1))
    kernel = re.match(r"\d+\.\d+", os.uname().release).group(0)
    virtual = subprocess.run(["grep", "-q", "^flags.*hypervisor", "/proc/cpuinfo"], check=False)
    return (f"{os.cpu_count()} cores ({found.group(1) if found else 'unknown processor'}), "
            f"{kilobytes / 1e6:.0f} GB, Linux {kernel}"
            f"{', in a virtual machine' if virtual.returncode == 0 else ''}")
