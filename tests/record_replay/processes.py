"""What a recording of several processes offers: their list, and one of them alone.

Replaying one process repeats its output only, from where it began to execute its program (`-p`) or
from its fork (`-f`)."""

import re
import struct

from harness import guests, process
from harness.report import Failed, Test, check_equal, require, scratch

def tests(_options):
    return [
        Test("processes/ps", lists_processes),
        Test("processes/replay_executed", replays_executed),
        Test("processes/replay_by_name", replays_by_name),
        Test("processes/replay_forked", replays_forked),
        Test("processes/memory_outlives", memory_outlives),
        Test("processes/replay_unknown", refuses_unknown),
        Test("processes/opens_unread", opens_unread),
        Test("processes/fork_large", forks_share_pages),
    ]


def run(*command):
    done = process.run([str(word) for word in command], timeout=60)
    if done.timed_out:
        raise Failed(f"no end\ncommand: {done.shell()}\n{done.stacks}")
    return done


def recorded(name, command, status=0):
    """Records a command; returns the recording and what the command wrote."""
    recording = scratch(f"processes/{name}") / "recording.rchk"
    done = run(process.RCHK, "record", "-o", recording, "--", *command)
    check_equal("record: exit status", status, done.status, done.shell())
    return recording, done.stdout.decode()


def processes_of(recording):
    """The lines of `rchk ps` that begin with a pid."""
    done = run(process.RCHK, "ps", recording)
    require(done.status == 0, f"status {done.status}\n{done.shell()}\n{done.stderr.decode()}")
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    return [words for words in lines if words and words[0].isdigit()]


def replayed(recording, *options):
    done = run(process.RCHK, "replay", "-a", *options, recording)
    return done.status, done.stdout.decode(), f"{done.shell()}\n{done.stderr.decode()[-2000:]}"


def lists_processes():
    recording, output = recorded("ps", [guests.named("processes_pids").program()])
    first = re.search(r"first (\d+)", output).group(1)
    children = re.findall(r"child (\d+) of", output)
    found = processes_of(recording)
    check_equal("pids", [first, *children], [words[0] for words in found])
    for words in found[1:]:
        require(first in words[1:], f"the parent {first} is not in {words}")


SHELL = ["sh", "-c", "echo before; /bin/echo from the child; sh -c 'echo other; exit 5'; exit 4"]


def replays_executed():
    recording, _ = recorded("replay_executed", SHELL, 4)
    found = processes_of(recording)
    check_equal("processes", 3, len(found))
    expected = [(4, "before\n"), (0, "from the child\n"), (5, "other\n")]
    for words, (status, output) in zip(found, expected):
        got = replayed(recording, "-p", words[0])
        check_equal("status and output", (status, output), got[:2], got[2])


def replays_by_name():
    recording, _ = recorded("replay_by_name", SHELL, 4)
    got = replayed(recording, "-p", "echo")
    check_equal("status and output", (0, "from the child\n"), got[:2], got[2])


def replays_forked():
    guest = guests.named("processes_fork_wait")
    recording, output = recorded("replay_forked", [guest.program()], 6)
    check_equal("recorded", "before\nchild\npassed\n", output)
    child = processes_of(recording)[1][0]
    got = replayed(recording, "-f", child)
    check_equal("status and output", (6, "child\n"), got[:2], got[2])


def memory_outlives():
    """A process ends where it did, not where the memory does that others went on in."""
    guest = guests.named("processes_memory_outlives")
    recording, _ = recorded("memory_outlives", [guest.program()], guest.status)
    found = [words[:3] for words in processes_of(recording)]
    check_equal("exit statuses", ["7", "3", "5", "4", "6", "6"], [words[2] for words in found])
    check_equal("the whole", guest.status, replayed(recording)[0])
    for pid, _, status in found:
        option = "-f" if status in "34" else "-p"
        if status == "5":  # it executed nothing
            continue
        got = replayed(recording, option, pid)
        check_equal(f"exit status of {pid}", int(status), got[0], got[2])
        debugged = run("gdb", "-nx", "-batch", "-ex",
                       f"target remote | {process.RCHK} replay --stdio {option} {pid} {recording}",
                       "-ex", "continue")
        said = (debugged.stderr + debugged.stdout).decode()
        require(f"about to exit with status {status}" in said, f"{debugged.shell()}\n{said}")


def refuses_unknown():
    recording, _ = recorded("replay_unknown", SHELL, 4)
    for option, value in (("-p", "999999999"), ("-f", "999999999"), ("-p", "nobody")):
        status, output, shown = replayed(recording, option, value)
        require(status == 2 and not output, f"status {status}, output {output!r}\n{shown}")
        require(value in shown.split("\n", 1)[1], f"the message does not name {value}\n{shown}")


EVENTS, PAGES, SNAPSHOT = 2, 8, 9


def chunks_of(contents, wanted):
    """A recording's chunks of a type (docs/trace-format.md, "Container"): where their payloads are,
    their labels, and their sizes before compression."""
    at = 65536 + 32
    while at + 64 <= len(contents):
        magic, kind, label = struct.unpack_from("<4sH6xI", contents, at)
        require(magic == b"rhCk", f"no chunk at {at}")
        stored, raw = struct.unpack_from("<QQ", contents, at + 24)
        if kind == wanted:
            yield at + 64, label, raw
        at += 64 + stored


def gone_to_end(recording, pid, guest="keep_processes"):
    """What `rchk ps` says of a recording, and gdb at the end of a process."""
    listed = run(process.RCHK, "ps", recording)
    require(listed.status == 0, f"{listed.shell()}\n{listed.stderr.decode()}")
    debugged = run(
        "gdb", "-nx", "-batch", "-ex", "set confirm off", "-ex", "set pagination off",
        "-ex", f"file {guests.named(guest).program()}",
        "-ex", f"target remote | {process.RCHK} replay --stdio -f {pid} {recording}",
        "-ex", "monitor goto end", "-ex", "maintenance flush register-cache",
        "-ex", "info registers", "-ex", "x/64xg $sp")
    said = debugged.stderr.decode() + debugged.stdout.decode()
    require("position " in said and "rip" in said, f"{debugged.shell()}\n{said}")
    return listed.stdout.decode(), said[said.index("position "):]


def opens_unread():
    """Whatever a long log holds: what does not lie on the way is not read, so its damage is not seen,
    where processes share no memory."""
    guest = guests.named("keep_processes")
    recording = scratch("processes/opens_unread") / "recording.rchk"
    done = run(process.RCHK, "record", "--snapshots", "20", "-o", recording, "--",
               guest.program(), 3000, "apart")
    check_equal("record: exit status", guest.status, done.status, done.shell())
    pid = processes_of(recording)[2][0]
    expected = gone_to_end(recording, pid)
    contents = bytearray(recording.read_bytes())
    batches = [at for at, _, _ in chunks_of(contents, EVENTS)]
    require(len(batches) > 40, f"only {len(batches)} batches: this shows nothing")
    # The process begins in the first ones, and in the last ones lie its last snapshot and its end.
    for at in batches[len(batches) // 4:len(batches) // 2]:
        contents[at] ^= 1
    recording.write_bytes(contents)
    check_equal("ps, and gdb at the end", expected, gone_to_end(recording, pid))
    verified = run(process.RCHK, "verify", recording)
    require(verified.status != 0 and f"offset {batches[len(batches) // 4] - 64}"
            in verified.stderr.decode(), f"{verified.shell()}\n{verified.stderr.decode()}")


def forks_share_pages():
    """What descendants have in common with a large parent is stored once, and each of them is replayed
    alone: from its fork, and from its last snapshot."""
    guest = guests.named("processes_fork_large")
    recording = scratch("processes/fork_large") / "recording.rchk"
    done = run(process.RCHK, "record", "--snapshots", "10", "-o", recording, "--",
               guest.program(), *guest.args)
    check_equal("record: exit status", guest.status, done.status, done.shell())
    contents = recording.read_bytes()
    spaces = {label for _, label, _ in chunks_of(contents, SNAPSHOT)}
    require(len(spaces) == 4, f"snapshots of the spaces {spaces} alone: this shows nothing")
    kept = sum(raw // 4096 for _, _, raw in chunks_of(contents, PAGES))
    parent = int(guest.args[0]) * 256
    require(kept < 2 * parent, f"{kept} pages are stored, the parent has {parent}\n{done.shell()}")
    status = {pid: int(ended) for pid, _, ended, *_ in processes_of(recording)}
    lines = done.stdout.decode().splitlines(keepends=True)
    outputs = sorted(lines[:3])
    for pid in list(status)[1:]:
        got = replayed(recording, "-f", pid)
        check_equal("status", status[pid], got[0], got[2])
        require(got[1] in outputs, f"{got[1]!r} is none of {outputs}\n{got[2]}")
        outputs.remove(got[1])
        gone_to_end(recording, pid, guest.name)
    check_equal("outputs of no process", [], outputs)
