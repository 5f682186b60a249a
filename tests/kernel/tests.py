"""On Debian's own kernel, in a virtual machine: what the kernel of this machine may lack.

Linux 6.1 has soft-dirty bits, and neither userfaultfd's async mode nor PAGEMAP_SCAN. All that is run
there shares one machine, since to boot it takes longer than most of it.
"""

import functools
import re
import shutil
import threading

from harness import guests, process, unit
from harness.report import Failed, Skipped, Test, require, scratch
from kernel import machine

TIMEOUT_S = 580  # two and a half minutes on an idle machine

# Of tests/guests: memory of every kind, signals, threads, processes.
GUESTS = ("brk_moves", "huge_pages", "ioctl_unknown", "madvise_discards", "memfd_mapping",
          "mprotect_patterns", "mremap_moves", "private_file_mapping", "processes_fork_wait",
          "self_modifying", "signals_alarm_in_computation", "signals_handler",
          "threads_create_join")
PROGRAMS = {
    # Its output tells the core. An emulated processor answers leaves that it does not have.
    "cpuid": "/bin/sh -c '/guests/cpuid >/dev/null'",
    "ls": "/bin/ls -l /guests /lib64",
    "gzip": "/bin/gzip -c /init",
    "sh": "/bin/sh -c 'for i in 1 2 3 4 5 6; do echo $i | cat; done'",
}
# The tests of soft-dirty that may be skipped: they need PAGEMAP_SCAN.
MAY_SKIP = {"UntouchedGigabytesCostNothing"}

lock = threading.Lock()


def tests(_options):
    found = [Test("kernel/soft_dirty", check_soft_dirty), Test("kernel/trackers", check_trackers)]
    for name in (*GUESTS, *PROGRAMS):
        found.append(Test(f"kernel/{name}", lambda n=name: check_cycle(n)))
    return found


def commands():
    trackers = "RCHK_TRACKER_SEEDS=1 /unit_snapshot --gtest_color=no --gtest_filter="
    yield "swap", "grep zram0 /proc/swaps"
    yield "doctor", "/rchk doctor"
    # Without PAGEMAP_SCAN there is no difference to the third set of rights, "no_scan".
    yield "soft_dirty", f"{trackers}*soft_dirty_all_rights:*soft_dirty_no_frames"
    # What compares contents depends on no kernel, and takes longest.
    yield "trackers", f"{trackers}*exclusive_no_frames:*NoOthers/content_no_frames:TrackerProbe*"
    for name in GUESTS:
        guest = guests.named(name)
        yield name, " ".join(["cycle", f"/guests/{name}", *guest.args])
    for name, command in PROGRAMS.items():
        yield name, f"cycle {command}"


@functools.lru_cache(maxsize=None)
def run_all():
    """The console of the machine, and what each command of it gave; or why there is none."""
    try:
        folder = scratch("kernel")
        accelerator = machine.fastest(folder)
        console = machine.boot(filled_image(), folder, accelerator, TIMEOUT_S)
        (folder / "initramfs").unlink()
        (folder / "console").write_text(console)
        return console, machine.outputs(console)
    except Skipped as skipped:
        return skipped, {}


def filled_image():
    image = machine.new_image(list(commands()))
    image.add_program(process.RCHK, "/rchk")
    image.add_program(process.BUILD / "release" / "tests" / "unit_snapshot", "/unit_snapshot")
    for program in ("ls", "gzip", "sleep"):
        image.add_program(shutil.which(program), f"/bin/{program}")
    for name in (*GUESTS, "cpuid"):
        image.add_program(guests.named(name).program(), f"/guests/{name}")
    # Numbered: each needs those before it.
    for number, module in enumerate(machine.modules("zsmalloc", "lzo-rle", "zram")):
        image.add_file(f"/modules/{number}.ko", module.read_bytes(), 0o644)
    return image


def result_of(name):
    with lock:
        console, results = run_all()
    if isinstance(console, Skipped):
        raise console
    return machine.require_end(name, results, console)


def check_soft_dirty():
    """All that is tested of the tracker is run."""
    _, output = result_of("doctor")
    require(result_of("swap")[0] == 0, "there is no swap space")
    require(re.search(r"^yes +dirty tracker: soft-dirty", output, re.M), output)
    status, output = result_of("soft_dirty")
    skipped = set(re.findall(r"\[  SKIPPED \] .*?Test\.(\w+)/soft_dirty", output))
    require(status == 0, unit.failing_cases(output))
    require(skipped <= MAY_SKIP, f"skipped: {sorted(skipped - MAY_SKIP)}\n{output[-2000:]}")
    return count_passed(output)


def check_trackers():
    status, output = result_of("trackers")
    require(status == 0, unit.failing_cases(output))
    return count_passed(output)


def count_passed(output):
    passed = re.search(r"\[  PASSED  \] (\d+) tests?", output)
    require(passed and int(passed.group(1)) > 0, f"nothing was run:\n{output[-2000:]}")
    return int(passed.group(1))


def check_cycle(name):
    status, output = result_of(name)
    if status != 0:
        raise Failed(f"status {status}\n{output}")
