"""gdb/MI as an IDE speaks it: the reverse forms of -exec commands on a live rchk."""

import queue
import re
import subprocess
import threading

from harness import process
from harness.report import require

TIMEOUT_S = 120


class Session:
    def __init__(self):
        self.process = subprocess.Popen(
            ["gdb", "-nx", "-q", "-i=mi"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, start_new_session=True,
        )
        self.lines = queue.Queue()
        self.said = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip())

    def send(self, command, wanted):
        """Sends a command, and returns the first line that matches."""
        self.said.append("> " + command)
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        while True:
            try:
                line = self.lines.get(timeout=TIMEOUT_S)
            except queue.Empty:
                line = None
            require(line is not None, f"no /{wanted}/ in {TIMEOUT_S} s\n" + "\n".join(
                self.said[-12:]))
            self.said.append(line)
            if re.search(wanted, line):
                return line
            require(not line.startswith("^error"), "\n".join(self.said[-12:]))

    def close(self):
        process.kill_tree(self.process.pid)
        self.process.wait()


def run(program):
    session = Session()
    try:
        for setting in ("confirm off", "sysroot /", "debuginfod enabled off"):
            session.send(f"-gdb-set {setting}", r"^\^done")
        session.send(f"-file-exec-and-symbols {program}", r"^\^done")
        session.send(f"-target-select remote | {process.RCHK} {program}", r"^\^connected")
        session.send("-list-target-features", r'"reverse"')
        session.send("-break-insert add", r"^\^done")
        for expected in ("0", "1", "4"):
            session.send("-exec-continue", rf'reason="breakpoint-hit".*name="b",value="{expected}"')
        session.send("-exec-continue --reverse", r'reason="breakpoint-hit".*name="b",value="1"')
        session.send("-exec-finish --reverse", r"\*stopped")
        session.send("-exec-step", r"\*stopped")
        session.send("-exec-next --reverse", r"\*stopped")
        session.send("-exec-step-instruction --reverse", r"\*stopped")
        session.send("-exec-step-instruction", r"\*stopped")
        session.send("-break-delete", r"^\^done")
        session.send("-exec-continue --reverse", "No more reverse-execution history")
    finally:
        session.close()
