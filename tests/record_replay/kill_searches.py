"""Kills rchk while it searches, and waits for all processes that it has made: they become this
one's children (prctl(2), PR_SET_CHILD_SUBREAPER)."""

import ctypes
import os
import signal
import sys
import time

from harness.remote import Remote

PR_SET_CHILD_SUBREAPER = 36
LONGEST_S = 10


def children():
    me = str(os.getpid())
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="latin-1") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[1] == me:
            found.append(int(name))
    return found


def reaped(pids):
    for pid in pids:
        os.waitpid(pid, os.WNOHANG)


def kill_after(recording, seconds):
    """How many processes there were, beside rchk; -1 if some did not end."""
    remote = Remote(recording, "--search-jobs", "3")
    remote.monitor("goto end")
    remote.ask("QPassSignals:e")
    remote.ask("Z0,10,1")
    remote.send("bc")
    time.sleep(seconds)
    remote.server.send_signal(signal.SIGKILL)
    remote.server.wait()
    orphans = len(children())
    end = time.monotonic() + LONGEST_S
    while left := children():
        if time.monotonic() > end:
            print(f"killed after {seconds} s: still there: {left}")
            return -1
        reaped(left)
        time.sleep(0.01)
    return orphans


def main():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    counts = [kill_after(sys.argv[1], 0.012 * i) for i in range(10)]
    if max(counts) <= 0:
        print(f"there was nothing to leave behind: {counts}")
        return 1
    return 1 if -1 in counts else 0


if __name__ == "__main__":
    sys.exit(main())
