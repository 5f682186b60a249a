"""Recordings as files: without the program they were made of, cut off, damaged, misused."""

import os
import random
import re
import shutil
import signal
import subprocess
import time

from harness import guests, process
from harness.guests import compile_program
from harness.report import Failed, Skipped, Test, check_equal, require, scratch

MISUSE, BAD_RECORDING, MACHINE = 2, 3, 5
KILLS = 20

LIBRARY = r"""
int scaled(int value) {
  int result = value * 3;
  return result;  /* in the library */
}
"""
PROGRAM = r"""
#include <stdio.h>
int scaled(int value);
int main(void) {
  int sum = 0;
  for (int i = 0; i < 10; ++i) sum += scaled(i);
  printf("sum %d\n", sum);
  return 7;
}
"""


def tests(_options):
    return [
        Test("recordings/program_deleted", program_deleted),
        Test("recordings/program_replaced", program_replaced),
        Test("recordings/debugged_without_program", debugged_without_program),
        Test("recordings/cut_off", cut_off),
        Test("recordings/damaged", damaged),
        Test("recordings/not_recordings", not_recordings),
        Test("recordings/recorder_killed", recorder_killed),
        Test("recordings/disk_full", disk_full),
        Test("recordings/closed_streams", closed_streams),
        Test("recordings/descriptors_soft_limit", descriptors_soft_limit),
        Test("recordings/descriptors_used_up", descriptors_used_up),
        Test("recordings/changed_by_outsiders", changed_by_outsiders),
        Test("recordings/killed_by_outsiders", killed_by_outsiders),
        Test("recordings/killed_at_snapshots", killed_at_snapshots),
        Test("recordings/other_core", other_core),
        Test("recordings/newest", newest),
        Test("recordings/misuse", misuse),
        Test("recordings/bookmarks", bookmarks),
        Test("recordings/dirty_trackers", dirty_trackers),
        Test("recordings/without_snapshots", without_snapshots),
        Test("recordings/beside_waiting", beside_waiting),
        Test("recordings/begins_late", begins_late),
        Test("recordings/moves_far", moves_far),
    ]


def run(*command, **options):
    return process.run([str(word) for word in command], timeout=60, **options)


def text_of(done):
    return (done.stdout + done.stderr).decode(errors="replace")


def require_status(what, expected, done):
    require(done.status == expected,
            f"{what}: exit status {done.status}, not {expected}\n{done.shell()}\n{text_of(done)}")


def recording_in(folder):
    """A program with a library of its own, recorded; both lie in `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "scaled.c").write_text(LIBRARY)
    (folder / "program.c").write_text(PROGRAM)
    for command in (
        ["gcc", "-g", "-fPIC", "-shared", "-o", "libscaled.so", "scaled.c"],
        ["gcc", "-g", "-o", "program", "program.c", "-L.", "-lscaled", "-Wl,-rpath,$ORIGIN"],
    ):
        subprocess.run(command, cwd=folder, check=True)
    recording = folder / "recording.rchk"
    done = run(process.RCHK, "record", "-o", recording, "--", folder / "program")
    require_status("record", 7, done)
    check_equal("recorded output", b"sum 135\n", done.stdout)
    return recording


def require_whole(recording):
    require_status("verify", 0, run(process.RCHK, "verify", recording))
    replayed = run(process.RCHK, "replay", "-a", recording)
    require_status("replay", 7, replayed)
    check_equal("replayed output", b"sum 135\n", replayed.stdout)


def program_deleted():
    folder = scratch("recordings/program_deleted")
    recording = recording_in(folder)
    (folder / "program").unlink()
    (folder / "libscaled.so").unlink()
    require_whole(recording)
    shutil.rmtree(folder)


def program_replaced():
    folder = scratch("recordings/program_replaced")
    recording = recording_in(folder)
    # In place, so that whoever had mapped the files would see it.
    for name in ("program", "libscaled.so"):
        size = (folder / name).stat().st_size
        (folder / name).write_bytes(b"\xcc" * size)
    require_whole(recording)
    shutil.rmtree(folder)


def debugged_without_program():
    folder = scratch("recordings/debugged_without_program")
    recording = recording_in(folder)
    asked = run("gdb", "-nx", "-batch", "-ex",
                f"target remote | {process.RCHK} replay --stdio {recording}",
                "-ex", "break scaled", "-ex", "continue", "-ex", "info address scaled",
                cwd=folder)
    found = re.search(r"at address (0x[0-9a-f]+)", text_of(asked))
    require(found, f"no address of the function: {text_of(asked)}")
    address = found.group(1)
    for name in ("program", "libscaled.so", "program.c", "scaled.c"):
        (folder / name).unlink()
    done = run(
        "gdb", "-nx", "-batch", "-ex", "set confirm off",
        "-ex", f"target remote | {process.RCHK} replay --stdio {recording}",
        "-ex", f"break *{address}", "-ex", "continue", "-ex", "continue",
        "-ex", "print $rdi", "-ex", "reverse-stepi", "-ex", "stepi", "-ex", "print $pc",
        "-ex", "reverse-continue", "-ex", "print $rdi",
    )
    text = text_of(done)
    for expected in ("$1 = 1", f"$2 = (void (*)()) {address}", "$3 = 0"):
        require(expected in text, f"no {expected!r} in what gdb said:\n{text}")
    shutil.rmtree(folder)


def cut_off():
    """What was written before the end of a file got lost is there, and says that it is not all."""
    folder = scratch("recordings/cut_off")
    recording = recording_in(folder)
    whole = recording.read_bytes()
    short = folder / "short.rchk"
    # The end of the log, its index, and a piece of the last chunk.
    for part in (0.2, 0.6, 0.9, 0.99, 1 - 1 / len(whole)):
        short.write_bytes(whole[:int(len(whole) * part)])
        done = run(process.RCHK, "verify", short)
        text = text_of(done)
        require(done.status in (0, BAD_RECORDING),
                f"cut at {part}: exit status {done.status}\n{text}")
        require(str(short) in text, f"cut at {part}: the file is not named\n{text}")
        info = run(process.RCHK, "info", short)
        require(info.status in (0, BAD_RECORDING), f"cut at {part}: {text_of(info)}")
    shutil.rmtree(folder)


def chunks(recording):
    """Begin, end, type and key of each chunk (docs/trace-format.md)."""
    magic, header_bytes = b"rhCk", 64
    at = recording.index(magic)
    while at < len(recording):
        require(recording[at:at + 4] == magic, f"no chunk at {at}")
        kind = int.from_bytes(recording[at + 4:at + 6], "little")
        key = int.from_bytes(recording[at + 16:at + 24], "little")
        stored = int.from_bytes(recording[at + 24:at + 32], "little")
        yield at, at + header_bytes + stored, kind, key
        at += header_bytes + stored


def without_snapshots():
    """A place that its page snapshot tells, whose snapshot was lost or not written any more."""
    folder = scratch("recordings/without_snapshots")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    guest = guests.named("compute_large")
    recording = folder / "recording.rchk"
    done = run(process.RCHK, "record", "--snapshots", "100", "-o", recording, "--", guest.program())
    require_status("record", 0, done)
    said = run(process.RCHK, "dump", recording).stdout.decode()
    found = re.search(r"^ *(\d+) .* as its page snapshot$", said, re.M)
    require(found, f"no snapshot was taken in the computation:\n{said}")
    number = int(found.group(1))
    whole = recording.read_bytes()
    parts = list(chunks(whole))
    index, end, snapshot, directory = 5, 6, 9, 10
    # Behind the event, in front of its snapshot.
    place = next(begin for begin, _, kind, key in parts if kind == snapshot and key == number)
    short = folder / "short.rchk"
    short.write_bytes(whole[:place])
    done = run(process.RCHK, "verify", short)
    require_status("cut off", 0, done)
    require("was not closed" in text_of(done), text_of(done))
    require(f"verified: {number + 1} events" in text_of(done), text_of(done))
    lost = folder / "lost.rchk"
    left_out = (index, end, snapshot, directory)
    kept = [whole[begin:stop] for begin, stop, kind, _ in parts if kind not in left_out]
    lost.write_bytes(whole[:parts[0][0]] + b"".join(kept))
    done = run(process.RCHK, "verify", lost)
    require_status("lost", 0, done)
    events = re.search(r"verified: (\d+) events", done.stdout.decode()).group(1)
    done = run(process.RCHK, "verify", recording)
    require(f"verified: {events} events" in done.stdout.decode(), text_of(done))
    shutil.rmtree(folder)


IDLE_THREAD = r"""
#include <pthread.h>
#include <stdio.h>
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void* idle(void* argument) {
  pthread_mutex_lock(&mutex);
  pthread_mutex_unlock(&mutex);
  return argument;
}
int main(void) {
  static volatile unsigned table[1 << 16];
  pthread_t thread;
  pthread_mutex_lock(&mutex);
  if (pthread_create(&thread, NULL, idle, NULL) != 0) return 1;
  for (unsigned i = 0, seed = 1; i < 1000000000; ++i) {
    seed = seed * 1664525 + 1013904223;
    table[seed >> 16] = i;
  }
  pthread_mutex_unlock(&mutex);
  pthread_join(thread, NULL);
  printf("%x\n", table[1]);
  return 0;
}
"""


def beside_waiting():
    """A thread computes without a call while another one waits: snapshots come all the same."""
    folder = scratch("recordings/beside_waiting")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = folder / "idle_thread.c"
    source.write_text(IDLE_THREAD)
    program = guests.compile_program(source, folder / "idle_thread", ["-O1", "-pthread"])
    recording = folder / "recording.rchk"
    done = run(process.RCHK, "record", "--snapshots", "50", "-o", recording, "--", program)
    require_status("record", 0, done)
    said = run(process.RCHK, "info", recording).stdout.decode()
    taken = re.search(r"^page snapshots +(\d+)", said, re.M)
    require(taken and int(taken.group(1)) >= 4, f"too few page snapshots:\n{said}")
    require_status("verify", 0, run(process.RCHK, "verify", "--restore", recording))
    shutil.rmtree(folder)


def long_computation(folder):
    """Seconds without anything to begin at, and then a child that exits with status 3."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    recording = folder / "recording.rchk"
    script = "import os; sum(range(200000000)); os.fork() or os._exit(3); os.wait()"
    record = run(process.RCHK, "record", "--snapshot-overhead", "0", "-o", recording, "--",
                 "/usr/bin/python3", "-IS", "-c", script)
    require_status("record", 0, record)
    return recording


def moves_far():
    """gdb waits for monitor commands that take longer than its time-outs, and gets one answer."""
    folder = scratch("recordings/moves_far")
    recording = long_computation(folder)
    commands = [f"target remote | {process.RCHK} replay --stdio {recording}", "monitor goto end",
                "monitor when", "monitor goto start", "info registers rip"]
    arguments = [word for command in commands for word in ("-ex", command)]
    said = text_of(run("gdb", "-nx", "-batch", "-ex", "set remotetimeout 1", *arguments))
    positions = [line.split()[1] for line in said.splitlines() if line.startswith("position ")]
    require(len(positions) == 3 and positions[0] == positions[1] and positions[2] == "0+0",
            f"gdb says:\n{said}")
    require("Invalid" not in said and "Ignoring" not in said, f"gdb says:\n{said}")
    shutil.rmtree(folder)


def begins_late():
    """gdb with its own time-outs waits for a process whose beginning takes seconds to come to."""
    folder = scratch("recordings/begins_late")
    recording = long_computation(folder)
    listed = run(process.RCHK, "ps", recording).stdout.decode()
    child = listed.splitlines()[2].split()[0]
    command = f"target remote | {process.RCHK} replay --stdio -p {child} {recording}"
    said = text_of(run("gdb", "-nx", "-batch", "-ex", command, "-ex", "continue"))
    require("about to exit with status 3" in said, f"gdb says:\n{said}")
    require("unexpectedly" not in said and "Ignoring" not in said, f"gdb says:\n{said}")
    shutil.rmtree(folder)


def killed_by_outsiders():
    """Threads that never rest are stopped, let go on and killed at moments of no pattern."""
    require_ends_recorded("recordings/killed_by_outsiders", lambda choice: [
        "--", guests.named("threads_clock_forever").program(), choice.choice("1123")])


def killed_at_snapshots():
    """A computation with a page snapshot each millisecond is killed in one as often as not."""
    require_ends_recorded("recordings/killed_at_snapshots", lambda _: [
        "--snapshots", "1", "--", guests.named("killed_for_good").program()])


def require_ends_recorded(test, arguments):
    """However often a program was stopped and let go on before it was killed."""
    folder = scratch(test)
    recording, ready = folder / "recording.rchk", folder / "ready"
    for seed in range(KILLS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        choice = random.Random(seed)
        number = choice.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])

        def disturb(_recorder, choice=choice, number=number):
            while not ready.exists() or not ready.read_text():
                time.sleep(0.01)
            guest = int(ready.read_text())
            for _ in range(choice.randrange(6)):
                time.sleep(choice.random() * 0.03)
                os.kill(guest, signal.SIGSTOP)
                time.sleep(choice.random() * 0.01)
                os.kill(guest, signal.SIGCONT)
            time.sleep(choice.random() * 0.03)
            os.kill(guest, number)

        command = [process.RCHK, "record", "-o", recording, *arguments(choice)]
        done = process.run(command, timeout=60, cwd=folder, during=disturb)
        require(not done.timed_out, f"seed {seed}: no end\n{done.shell()}\n{done.stacks}")
        require_status(f"seed {seed}: record", 128 + number, done)
        require_status(f"seed {seed}: verify", 0, run(process.RCHK, "verify", recording))
    shutil.rmtree(folder)


def other_core():
    """What tells the core is the recorded one's, wherever the replay runs."""
    folder = scratch("recordings/other_core")
    folder.mkdir(parents=True, exist_ok=True)
    recording = folder / "recording.rchk"
    recording.unlink(missing_ok=True)
    done = run(process.RCHK, "record", "-o", recording, "--", guests.named("core_number").program())
    require_status("record", 0, done)
    for core in sorted(os.sched_getaffinity(0)):
        replayed = run("taskset", "-c", core, process.RCHK, "replay", "-a", recording)
        require_status(f"replay on core {core}", 0, replayed)
        check_equal(f"output on core {core}", done.stdout, replayed.stdout)
    shutil.rmtree(folder)


def damaged():
    """One wrong byte, anywhere: found, or without any effect."""
    folder = scratch("recordings/damaged")
    recording = recording_in(folder)
    whole = recording.read_bytes()
    wrong = folder / "wrong.rchk"
    found = 0
    places = range(0, len(whole), len(whole) // 40)
    for place in places:
        wrong.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1:])
        done = run(process.RCHK, "verify", wrong)
        text = text_of(done)
        if done.status == BAD_RECORDING:
            found += 1
            require(str(wrong) in text, f"byte {place}: the file is not named\n{text}")
        else:
            require_whole(wrong)
    # The front of the file is text for people and room for ELF headers; the rest is checked.
    require(found >= len(places) * 3 // 4, f"only {found} of {len(places)} damages were found")
    shutil.rmtree(folder)


def not_recordings():
    folder = scratch("recordings/not_recordings")
    folder.mkdir(parents=True, exist_ok=True)
    empty = folder / "empty"
    empty.write_bytes(b"")
    text = folder / "text"
    text.write_text("no recording\n" * 10000)
    for path in (empty, text, folder, folder / "missing", "/bin/true"):
        for command in ("info", "dump", "verify", "replay"):
            words = [command, "-a", path] if command == "replay" else [command, path]
            done = run(process.RCHK, *words)
            require_status(f"{command} {path}", BAD_RECORDING, done)
            require(str(path) in text_of(done), f"{path} is not named: {text_of(done)}")
            check_equal("standard output", b"", done.stdout)
    shutil.rmtree(folder)


def recorder_killed():
    """kill -9 of the recorder: the guest does not outlive it, the file is readable."""
    folder = scratch("recordings/recorder_killed")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    recording = folder / "recording.rchk"
    with subprocess.Popen(
        [process.RCHK, "record", "-o", recording, "--", "/bin/sh", "-c",
         "i=0; while :; do i=$((i+1)); echo $i; done"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as recorder:
        for line in recorder.stdout:
            if int(line) > 2000:
                break
        time.sleep(0.3)
        recorder.send_signal(signal.SIGKILL)
        rest = recorder.stdout.read()  # ends when the guest is gone
        require(recorder.wait() == -signal.SIGKILL, "the recorder was not killed")
    require(len(rest) < 1 << 20, "the guest went on")
    done = run(process.RCHK, "verify", recording)
    require_status("verify", 0, done)
    dumped = run(process.RCHK, "dump", recording)
    require_status("dump", 0, dumped)
    require(b"write(1" in dumped.stdout, "the events are not there")
    shutil.rmtree(folder)


ON_SMALL_DISK = r"""
mount -t tmpfs -o size=3m none "$2" || exit 99
"$1" record -o "$2/recording.rchk" -- sh -c 'head -c 20000000 /dev/urandom | wc -c; exit 7'
echo "recorded: $?"
"$1" verify "$2/recording.rchk"
echo "verified: $?"
"""


def disk_full():
    """The program goes on, and its status is told; what there was room for is a recording."""
    folder = scratch("recordings/disk_full")
    done = run("unshare", "-m", "sh", "-c", ON_SMALL_DISK, "sh", process.RCHK, folder)
    if done.status != 0:
        raise Skipped(f"nothing can be mounted here: {text_of(done)}")
    said = text_of(done)
    for expected in ("20000000\n", "recorded: 7\n", "verified: 0\n"):
        require(expected in said, f"no {expected.strip()!r}\n{said}")
    count = said.count("No space left on device")
    require(count == 1, f"the full disk is told {count} times\n{said}")
    shutil.rmtree(folder)


STREAMS = "cat; echo out; echo err >&2; ls -l /proc/self/fd | wc -l; exit 4"


def closed_streams():
    """What rchk is started without the program is started without, and no file of rchk's is there."""
    folder = scratch("recordings/closed_streams")
    recording = folder / "recording.rchk"
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        native = run("sh", "-c", f"sh -c '{STREAMS}' {closed}")
        recorded = run("sh", "-c", f"'{process.RCHK}' record -o '{recording}' -- "
                                   f"sh -c '{STREAMS}' {closed}")
        require_status(f"record {closed}", native.status, recorded)
        check_equal(f"output with {closed}", native.stdout, recorded.stdout)
        check_equal(f"messages with {closed}", native.stderr, recorded.stderr)
        require_status(f"verify {closed}", 0, run(process.RCHK, "verify", recording))
    shutil.rmtree(folder)


FORKS = """
import os, resource
reading, writing = os.pipe()
children = []
for _ in range(90):
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    children.append(child)
os.close(writing)
for child in children:
    os.waitpid(child, 0)
print(len(children), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def descriptors_soft_limit():
    """rchk has more of them than the program may have, who sees its own limit."""
    folder = scratch("recordings/descriptors_soft_limit")
    recording = folder / "recording.rchk"
    done = run("sh", "-c", 'ulimit -Sn 60; exec "$@"', "sh", process.RCHK, "record", "-o", recording,
               "--", "python3", "-c", FORKS)
    require_status("record", 0, done)
    check_equal("output", b"90 60\n", done.stdout)
    check_equal("messages", b"", done.stderr)
    require_status("verify", 0, run(process.RCHK, "verify", recording))
    shutil.rmtree(folder)


def descriptors_used_up():
    """The recording ends, wherever the recorder is then, and nothing happens to the program."""
    folder = scratch("recordings/descriptors_used_up")
    recording = folder / "recording.rchk"
    for limit in range(40, 70, 2):
        done = run("sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", process.RCHK, "record", "-o",
                   recording, "--", "python3", "-c", FORKS)
        require_status(f"record with {limit}", 0, done)
        check_equal(f"output with {limit}", f"90 {limit}\n".encode(), done.stdout)
        require("Too many open files" in text_of(done), f"no word about it\n{text_of(done)}")
        recording.unlink()
    shutil.rmtree(folder)


READER = r"""
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void) {
  int file = open("mapped", O_RDONLY), ready = open("ready", O_WRONLY);
  volatile char* byte = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
  if (byte == MAP_FAILED || write(ready, "r", 1) != 1) return 1;
  while (*byte == 'a') usleep(1000);
  return 0;
}
"""


def changed_by_outsiders():
    """A file that the program has mapped is written by a program that is not recorded."""
    folder = scratch("recordings/changed_by_outsiders")
    (folder / "reader.c").write_text(READER)
    program = compile_program(folder / "reader.c", folder / "reader", ["-O1"])
    (folder / "mapped").write_text("a")
    os.mkfifo(folder / "ready")

    def write_to_it(_running):
        with (folder / "ready").open("rb", buffering=0) as ready:
            ready.read(1)
        with (folder / "mapped").open("r+") as file:
            file.write("b")

    done = run(process.RCHK, "record", "-o", folder / "recording.rchk", "--", program, cwd=folder,
               during=write_to_it)
    require_status("record", 0, done)
    require("mapped is mapped, and another program has changed it" in text_of(done),
            f"no word about the change\n{text_of(done)}")
    shutil.rmtree(folder)


def newest():
    """Without a file: the newest recording in RCHK_TRACE_DIR."""
    folder = scratch("recordings/newest")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    own = {"env": {**os.environ, "RCHK_TRACE_DIR": str(folder)}}
    done = run(process.RCHK, "info", **own)
    require_status("info without any recording", MISUSE, done)
    for word in ("first", "second"):
        require_status("record", 0, run(process.RCHK, "record", "--", "echo", word, **own))
        time.sleep(0.05)
    replayed = run(process.RCHK, "replay", "-a", **own)
    check_equal("replayed output", b"second\n", replayed.stdout)
    require_status("verify", 0, run(process.RCHK, "verify", **own))
    shutil.rmtree(folder)


def bookmarks():
    """monitor bookmark: there in the next session, and `info` lists them."""
    folder = scratch("recordings/bookmarks")
    recording = recording_in(folder)

    def session(*commands):
        words = [word for command in commands for word in ("-ex", command)]
        return text_of(run("gdb", "-nx", "-batch", "-ex",
                           f"target remote | {process.RCHK} replay --stdio {recording}",
                           *words, "program", cwd=folder))

    first = session("break scaled", "continue", "continue", "stepi 3", "monitor bookmark third",
                    "print/x $pc")
    require("kept in the recording" in first, first)
    place = re.search(r"\$1 = .*", first).group(0)
    second = session("monitor bookmark", "monitor goto third", "maintenance flush register-cache",
                     "print/x $pc")
    require("third at" in second and place in second, f"not {place}:\n{second}")
    require("bookmark       third" in text_of(run(process.RCHK, "info", recording)), "not listed")
    require_status("verify", 0, run(process.RCHK, "verify", recording))
    shutil.rmtree(folder)


def dirty_trackers():
    """--dirty-tracker: those that work here record, others say what they lack."""
    folder = scratch("recordings/dirty_trackers")
    recording = folder / "recording.rchk"
    guest = compile_program(process.ROOT / "tests" / "guests" / "malloc_patterns.c",
                            folder / "guest", ["-O2"])
    native = run(guest)
    offered = re.findall(r"^(yes|no) +dirty tracker: (\S+)", text_of(run(process.RCHK, "doctor")),
                         re.MULTILINE)
    require(len(offered) == 4, f"doctor tells of {offered}")
    for works, name in offered:
        done = run(process.RCHK, "record", "--snapshots", "1", "--dirty-tracker", name,
                   "-o", recording, "--", guest)
        if works == "no":
            require_status(f"record by {name}", MACHINE, done)
            require(name in text_of(done), f"{name} is not named")
            continue
        require_status(f"record by {name}", 0, done)
        check_equal(f"output by {name}", native.stdout, done.stdout)
        verified = run(process.RCHK, "verify", "--restore", recording)
        require_status(f"verify by {name}", 0, verified)
        require("page snapshots" in text_of(verified), f"no page snapshots by {name}")
    shutil.rmtree(folder)


def misuse():
    for words in (["--no-such-option"], ["record"], ["record", "--no-such-option", "true"],
                  ["record", "--", "/no/such/program"],
                  ["record", "--dirty-tracker", "none", "--", "true"],
                  ["replay", "--port", "70000", "x"], ["verify", "a", "b"],
                  ["record", "-o", "/no/such/folder/file", "--", "true"]):
        done = run(process.RCHK, *words)
        require_status(" ".join(words), MISUSE, done)
        if not text_of(done).strip():
            raise Failed(f"{words}: no message")
