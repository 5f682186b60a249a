"""Every guest: native, recorded, verified and replayed, and all the same."""

from harness import guests
from harness.report import Test
from record_replay.cycle import Cycle, Subject

TIMEOUT_S = 30


def tests(options):
    return [Test(f"record_replay/{guest.name}", lambda g=guest: run_guest(g, options))
            for guest in guests.all_guests()]


def run_guest(guest, options):
    subject = Subject(
        name=f"record_replay/{guest.name}",
        command=[str(guest.program()), *guest.args],
        stdin=guest.stdin,
        status=guest.status,
        kill=guest.kill,
        stops=guest.stops is not None,
        varies=guest.varies,
        timeout=TIMEOUT_S,
        # So that a difference shows where it arises.
        record_options=["--checksums", "5", "--snapshots", "10"],
    )
    return Cycle(subject, options.keep).run(options.repeat, options.soak)
