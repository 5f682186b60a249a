"""Running commands under test: output, status, a time limit that leaves stacks behind."""

import os
import pathlib
import shlex
import signal
import subprocess
import threading
import time
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
# Where tests put what they make; a checkout that is used by several at once has one for each.
WORK = pathlib.Path(os.environ.get("RCHK_TEST_WORK", BUILD))
RCHK = pathlib.Path(os.environ.get("RCHK", BUILD / "rchk"))


@dataclass
class Outcome:
    """What a command did. `status` is a shell's: 128 + N for a death by signal N."""

    command: list
    status: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    stacks: str = ""
    left: str = ""  # processes of its session that it left running, by their command lines

    def shell(self):
        return shell_line(self.command)


def shell_line(command):
    return " ".join(shlex.quote(str(word)) for word in command)


def descendants(pid):
    """The process and all below it, parents first."""
    found = [pid]
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            children = pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text()
            for child in children.split():
                found += descendants(int(child))
    except (OSError, ValueError):
        pass
    return found


def has_ended(pid):
    """Whether it is gone, or only waits for somebody to take note of it."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def session_members(session):
    """Every process of a session that runs: also those whose parent has gone."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.getsid(int(entry)) == session and not has_ended(entry):
                found.append(int(entry))
        except OSError:
            pass
    return found


def stack_dump(pid):
    """The stacks of a process and its descendants. A traced one shows the kernel's view only."""
    text = ""
    for each in sorted({*descendants(pid), *session_members(pid)}):
        text += f"--- process {each}\n"
        for name in ("cmdline", "wchan", "syscall"):
            try:
                content = pathlib.Path(f"/proc/{each}/{name}").read_bytes()
                text += f"{name}: {content.replace(bytes(1), b' ').decode(errors='replace')}\n"
            except OSError:
                pass
        gdb = ["gdb", "-nx", "-batch", "-p", str(each), "-ex", "thread apply all bt 16"]
        try:
            done = subprocess.run(
                gdb, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False
            )
            text += done.stdout.decode(errors="replace")[-4000:]
        except (OSError, subprocess.TimeoutExpired):
            text += "(no stack)\n"
    return text


# How many times longer than its limit anything may take: limits are for what hangs, and there are
# virtual machines on which a page fault takes 20 times what it takes elsewhere.
PATIENCE = 4


def run(command, *, stdin=b"", timeout=60, cwd=None, env=None, during=None):
    """Runs a command in a session of its own; `timeout`: on an ordinary machine, in seconds.

    `during`, when given, is called with the process in a thread of its own as it runs.
    """
    environment = dict(os.environ if env is None else env)
    with subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=environment,
        start_new_session=True,
    ) as process:
        if during is not None:
            threading.Thread(target=during, args=(process,), daemon=True).start()
        try:
            out, err = process.communicate(stdin, timeout=PATIENCE * timeout)
        except subprocess.TimeoutExpired:
            stacks = stack_dump(process.pid)
            kill_tree(process.pid)
            out, err = remains(process)
            return Outcome(command, 124, out, err, timed_out=True, stacks=stacks)
    status = process.returncode
    return Outcome(command, 128 - status if status < 0 else status, out, err,
                   left=end_rest_of(process.pid))


def end_rest_of(session, grace_s=2.0):
    """Waits for what is left of a session, then ends it; returns what there was to end."""
    end = time.monotonic() + grace_s
    while (members := session_members(session)) and time.monotonic() < end:
        time.sleep(0.02)
    left = []
    for each in members:
        try:
            command = pathlib.Path(f"/proc/{each}/cmdline").read_bytes()
            left.append(f"{each} {command.replace(bytes(1), b' ').decode(errors='replace')}")
            os.kill(each, signal.SIGKILL)
        except OSError:
            pass
    return ", ".join(left)


def remains(process):
    """What a killed process wrote. Not for ever: somebody may still hold its pipes open."""
    try:
        return process.communicate(timeout=10)
    except subprocess.TimeoutExpired as timeout:
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
        return timeout.stdout or b"", timeout.stderr or b""


def kill_tree(pid):
    """A process, all below it, and the rest of its session."""
    for each in [*reversed(descendants(pid)), *session_members(pid)]:
        try:
            os.kill(each, signal.SIGKILL)
        except OSError:
            pass
