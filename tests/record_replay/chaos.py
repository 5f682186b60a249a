"""Guests under `rchk record --chaos`: random slices and choices, from a seed that is printed.

They have an agent from their first call on, which other tests' guests are too short for."""

import re

from harness import guests, process
from harness.report import Test, check_equal, require, scratch
from record_replay.cycle import Cycle, Subject

SEEDS = 5
RACES = 20
GUESTS = ["threads_mutex_contended", "threads_condvar", "threads_barrier", "threads_rwlock",
          "threads_semaphore_turns", "threads_spin", "threads_blocked_calls", "threads_cancel",
          "threads_signals", "threads_deadlock_timed", "threads_pi_mutex", "futex_raw",
          "code_two_threads", "processes_fork_shared_anonymous", "processes_fork_many",
          "signals_from_outside"]


def tests(options):
    return [
        Test("chaos/finds_race", finds_race),
        Test("chaos/deadlock_stays", keeps_deadlock),
        *[Test(f"chaos/{name}", lambda n=name: under_chaos(n, options)) for name in GUESTS],
    ]


def under_chaos(name, options):
    guest = guests.named(name)
    subject = Subject(name=f"chaos/{name}", command=[str(guest.program()), *guest.args],
                      status=guest.status, varies=guest.varies,
                      record_options=["--chaos", "--agent-after", "0", "--checksums", "1",
                                      "--snapshots", "10"])
    for _ in range(SEEDS):  # each run draws its own
        cycle = Cycle(subject, options.keep)
        cycle.run(options.repeat, options.soak)
        require(re.search(r"seed[ =:]*\d+", cycle.own_messages),
                f"no seed was printed: {cycle.own_messages}")


def finds_race():
    """Without it the threads of this guest hardly ever meet between a load and a store."""
    recording = scratch("chaos/finds_race") / "recording.rchk"
    program = guests.named("threads_race").program()
    totals = set()
    for _ in range(RACES):
        recording.unlink(missing_ok=True)
        done = process.run([process.RCHK, "record", "--chaos", "-o", recording, "--", program])
        check_equal("record: exit status", 0, done.status, done.shell())
        totals.add(done.stdout)
        replay = process.run([process.RCHK, "replay", "-a", recording])
        check_equal("replay", (0, done.stdout), (replay.status, replay.stdout), replay.shell())
    require(len(totals) > 1, f"always {totals}")


def keeps_deadlock():
    guest = guests.named("threads_deadlock_stays")
    subject = Subject(name="chaos/deadlock_stays", command=[str(guest.program())],
                      status=guest.status, record_options=["--chaos"])
    Cycle(subject).run()
