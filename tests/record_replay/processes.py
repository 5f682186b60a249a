"""What a recording of several processes offers: their list, and one of them alone.

Replaying one process repeats its output only, from where it began to execute its program (`-p`) or
from its fork (`-f`)."""

import re

from harness import guests, process
from harness.report import Failed, Test, check_equal, require, scratch

def tests(_options):
    return [
        Test("processes/ps", lists_processes),
        Test("processes/replay_executed", replays_executed),
        Test("processes/replay_by_name", replays_by_name),
        Test("processes/replay_forked", replays_forked),
        Test("processes/replay_unknown", refuses_unknown),
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


def refuses_unknown():
    recording, _ = recorded("replay_unknown", SHELL, 4)
    for option, value in (("-p", "999999999"), ("-f", "999999999"), ("-p", "nobody")):
        status, output, shown = replayed(recording, option, value)
        require(status == 2 and not output, f"status {status}, output {output!r}\n{shown}")
        require(value in shown.split("\n", 1)[1], f"the message does not name {value}\n{shown}")
