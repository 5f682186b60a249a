"""The flight recorder: only the end of a recording is kept, and that replays fully; copies of it
are saved while the program runs; whoever dies leaves a whole recording behind."""

import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import time

from harness import guests, process
from harness.report import Failed, Test, check_equal, require, scratch

MISUSE = 2
GUESTS = {"memory": "keep_memory_changes", "processes": "keep_processes", "threads": "keep_threads"}
OFTEN = ["--keep", "200ms", "--snapshots", "20", "--checksums", "50"]


def tests(options):
    kills = options.soak or 6
    return [
        *[Test(f"keep/{name}", lambda n=name: replays_fully(n, options.soak or options.repeat))
          for name in GUESTS],
        *[Test(f"keep/killed_{name}", lambda n=name: recorder_killed(n, kills))
          for name in GUESTS],
        *[Test(f"keep/saved_{name}", lambda n=name: saves(n, ["--keep", "300ms"]))
          for name in GUESTS],
        Test("keep/saved_everything", lambda: saves("threads", [])),
        Test("keep/size", bounded_size),
        Test("keep/time", bounded_time),
        Test("keep/crash", guest_crashes),
        Test("keep/one_process", one_process),
        Test("keep/debugged", debugged),
        Test("keep/silent_client", silent_client),
        Test("keep/stopped_recorder", stopped_recorder),
        Test("keep/misuse", misuse),
    ]


def run(*command, timeout=240):
    done = process.run([str(word) for word in command], timeout=timeout)
    if done.timed_out:
        raise Failed(f"no end\ncommand: {done.shell()}\n{done.stacks}")
    return done


def folder_of(name):
    folder = scratch(f"keep/{name}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def command_of(name, milliseconds):
    guest = guests.named(GUESTS.get(name, name))
    return [guest.program(), milliseconds], guest.status


def record(folder, options, command, status):
    recording = folder / "recording.rchk"
    done = run(process.RCHK, "record", *options, "-o", recording, "--", *command)
    check_equal("record: exit status", status, done.status,
                f"{done.shell()}\n{done.stderr.decode()}")
    return recording, done


def text_of(done):
    return (done.stdout + done.stderr).decode(errors="replace")


def verify(recording, *options):
    done = run(process.RCHK, "verify", *options, recording)
    check_equal("verify: exit status", 0, done.status, f"{done.shell()}\n{text_of(done)[-3000:]}")
    return text_of(done)


def info(recording, key):
    done = run(process.RCHK, "info", recording)
    check_equal("info: exit status", 0, done.status, f"{done.shell()}\n{text_of(done)}")
    found = re.search(rf"^{key} +(.*)$", done.stdout.decode(), re.MULTILINE)
    return found.group(1) if found else None


def require_end_of(recorded, recording, status):
    """The replay's output is the end of what was recorded."""
    done = run(process.RCHK, "replay", "-a", recording)
    check_equal("replay: exit status", status, done.status,
                f"{done.shell()}\n{done.stderr.decode()[-3000:]}")
    require(done.stdout and recorded.stdout.endswith(done.stdout),
            f"not the end of the output: {done.stdout[-300:]!r}\n{done.shell()}")
    require(b"were dropped" in done.stderr, f"nothing says what is missing: {done.stderr!r}")


def replays_fully(name, times):
    folder = folder_of(name)
    command, status = command_of(name, 1500)
    for _ in range(times):
        recording, recorded = record(folder, OFTEN, command, status)
        require(info(recording, "dropped"), f"{recording}: nothing was dropped")
        verify(recording, "--restore")
        require_end_of(recorded, recording, status)
        first = run(process.RCHK, "dump", "--count", "1", recording).stdout.decode()
        require("goes on here" in first, f"the first event is not a beginning: {first}")
        listed = run(process.RCHK, "ps", recording)
        require(listed.status == 0 and GUESTS[name] in listed.stdout.decode(),
                f"the program is not listed: {text_of(listed)}")
    shutil.rmtree(folder)
    return times


def bounded_size():
    folder = folder_of("size")
    command, status = command_of("memory", 6000)
    recording = folder / "recording.rchk"
    most = 0
    with subprocess.Popen([str(word) for word in [
            process.RCHK, "record", "--keep", "8MB", "-o", recording, "--", *command]],
            stdout=subprocess.DEVNULL) as recorder:
        while recorder.poll() is None:
            if recording.exists():
                most = max(most, recording.stat().st_blocks * 512)
            time.sleep(0.02)
    check_equal("record: exit status", status, recorder.returncode)
    written = recording.stat().st_size
    require(written > 50e6, f"only {written} bytes were written: this shows nothing")
    require(most < 12e6, f"{most} bytes of the disk for --keep 8MB, of {written} written")
    verify(recording)
    shutil.rmtree(folder)


def bounded_time():
    folder = folder_of("time")
    command, status = command_of("processes", 6000)
    recording, recorded = record(folder, ["--keep", "1s"], command, status)
    seconds = float(info(recording, "duration").split()[0])
    require(0.9 < seconds < 3, f"{seconds} s were kept for --keep 1s")
    verify(recording)
    require_end_of(recorded, recording, status)
    shutil.rmtree(folder)


def has_dropped(recording):
    """Of a recording that is being made."""
    done = process.run([process.RCHK, "info", recording], timeout=60)
    return re.search(rb"^dropped ", done.stdout, re.M) is not None


def has_events(recording):
    """Of a recording that is being made."""
    done = process.run([process.RCHK, "info", recording], timeout=60)
    return re.search(rb"^events +[1-9]", done.stdout, re.M) is not None


def recorder_killed(name, times):
    """kill -9 of the recorder, anywhere: what is on the disk is a recording."""
    folder = folder_of(f"killed_{name}")
    command, _ = command_of(name, 60000)
    recording = folder / "recording.rchk"
    chance = random.Random()
    dropped = 0
    for turn in range(times):
        recording.unlink(missing_ok=True)
        with subprocess.Popen([str(word) for word in [
                process.RCHK, "record", "--keep", "100ms", "--snapshots", "30", "-o", recording,
                "--", *command]],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as recorder:
            # The program's files come first, and its first events are on the disk 100 ms later, or
            # more on a machine that is busy.
            while not has_events(recording):
                require(recorder.poll() is None, "the recorder ended by itself")
                time.sleep(0.01)
            # Every second time behind the first history that was dropped.
            while turn % 2 == 0 and not has_dropped(recording):
                require(recorder.poll() is None, "the recorder ended by itself")
                time.sleep(0.1)
            time.sleep(chance.uniform(0, 1))
            recorder.send_signal(signal.SIGKILL)
            recorder.wait()
        said = verify(recording, "--restore")
        require("was not closed" in said, f"nothing says that it is not complete: {said}")
        dropped += "were dropped" in said
    require(dropped >= times // 2, f"only {dropped} of {times} recordings began in the middle")
    shutil.rmtree(folder)
    return times


def saves(name, keep):
    folder = folder_of(f"saved_{name if keep else 'everything'}")
    command, status = command_of(name, 24000)
    recording = folder / "recording.rchk"
    own = folder / "own.rchk"
    with open(folder / "output", "wb") as output, open(folder / "errors", "wb") as errors, \
            subprocess.Popen([str(word) for word in [
                process.RCHK, "record", *keep, "--snapshots", "50", "-o", recording, "--",
                *command]], stdout=output, stderr=errors) as recorder:
        time.sleep(1)
        recorder.send_signal(signal.SIGUSR1)
        time.sleep(0.3)
        first = run(process.RCHK, "save", recorder.pid)
        time.sleep(0.2)
        second = run(process.RCHK, "save", "-o", own, recording)
        answers = [first, second] + ([] if keep else [save_newest()])
        went_on = recorder.poll() is None
        recorder.wait()
    require(went_on, "the program has ended: this shows nothing")
    said = (folder / "errors").read_text()
    check_equal("record: exit status", status, recorder.returncode, said)
    for done in answers:
        check_equal("save: exit status", 0, done.status, text_of(done))
    # One of them in between may be of another test's `rchk save`, which takes the newest recorder.
    beside = [folder / f"recording-saved-{number}.rchk" for number in (1, 2, 3)]
    require(f"rchk: saved {beside[0]}\n" in said, f"SIGUSR1: no word of {beside[0]}: {said}")
    require(first.stdout.decode() in [f"{file}\n" for file in beside[1:]],
            f"save: {first.stdout.decode()}")
    beside = [beside[0], pathlib.Path(first.stdout.decode().strip())]
    check_equal("save -o", f"{own}\n", second.stdout.decode())
    whole = (folder / "output").read_bytes()
    repeated = b""  # what is kept of one may be too short for any
    for file in (*beside, own, recording):
        said = verify(file)
        require("was not closed" not in said, f"{file} is not complete: {said}")
        require(bool(info(file, "dropped")) == bool(keep), f"{file}: dropped or not\n{said}")
        replayed = run(process.RCHK, "replay", "-a", file)
        require(replayed.stdout in whole,
                f"{file}: output that was not recorded: {replayed.stdout[-300:]!r}")
        repeated += replayed.stdout
    require(repeated, "none of them repeats any output")
    shutil.rmtree(folder)


def save_newest():
    """The newest recorder may be another test's, and have come to its end."""
    for _ in range(20):
        saved = run(process.RCHK, "save")
        if "it has ended" not in text_of(saved):
            break
    return saved


def silent_client():
    """Somebody who asks nothing keeps neither the recorder from its end nor others from asking."""
    folder = folder_of("silent_client")
    command, status = command_of("threads", 4000)
    recording = folder / "recording.rchk"
    with subprocess.Popen([str(word) for word in [
            process.RCHK, "record", "-o", recording, "--", *command]],
            stdout=subprocess.DEVNULL) as recorder, \
            socket.socket(socket.AF_UNIX) as client:
        while recorder.poll() is None:
            try:
                client.connect(f"\0rchk/record/{recorder.pid}")
                break
            except OSError:
                time.sleep(0.01)
        saved = run(process.RCHK, "save", "-o", folder / "saved.rchk", recorder.pid)
        require("does not answer" not in text_of(saved), text_of(saved))
        check_equal("record: exit status", status, recorder.wait(timeout=120))
    verify(recording)
    shutil.rmtree(folder)


def stopped_recorder():
    """One that is stopped does not keep others from being saved, and is named."""
    folder = folder_of("stopped_recorder")
    recordings = [folder / name for name in ("stopped.rchk", "runs.rchk")]
    recorders = []
    try:
        for recording in recordings:
            recorders.append(subprocess.Popen(
                [process.RCHK, "record", "-o", recording, "--", "sleep", "30"]))
        stopped, runs = recorders
        while not all(f"@rchk/record/{each.pid}" in pathlib.Path("/proc/net/unix").read_text()
                      for each in recorders):
            require(all(each.poll() is None for each in recorders), "a recorder has ended")
            time.sleep(0.01)
        stopped.send_signal(signal.SIGSTOP)
        while True:
            saved = run(process.RCHK, "save", "-o", folder / "saved.rchk", runs.pid)
            if "nothing was recorded yet" not in text_of(saved):
                break
        check_equal("save: exit status", 0, saved.status, text_of(saved))
        require(f"the recorder {stopped.pid} does not answer" in text_of(saved), text_of(saved))
        verify(folder / "saved.rchk")
        refused = run(process.RCHK, "save", stopped.pid)
        check_equal("save of the stopped one: exit status", 2, refused.status, text_of(refused))
    finally:
        for recorder in recorders:
            recorder.kill()
            recorder.wait()
    shutil.rmtree(folder)


CRASH = r"""
#include <stdio.h>
#include <time.h>
#include <unistd.h>
int main(void) {
  struct timespec now, start;
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (long i = 0;; i++) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    getppid();
    usleep(500);
    if (now.tv_sec - start.tv_sec > 2) break;
  }
  puts("about to");
  fflush(stdout);
  *(volatile int*)8 = 1;
}
"""


def guest_crashes():
    folder = folder_of("crash")
    source = folder / "crash.c"
    source.write_text(CRASH)
    program = guests.compile_program(source, folder / "crash", ["-O1"])
    recording, recorded = record(folder, ["--keep", "300ms"], [program], 128 + signal.SIGSEGV)
    verify(recording)
    require_end_of(recorded, recording, 128 + signal.SIGSEGV)
    require("SIGSEGV" in info(recording, "ends with"), "the end is not the crash")
    shutil.rmtree(folder)


def one_process():
    """Each process that is there alone."""
    folder = folder_of("one_process")
    command, status = command_of("processes", 1500)
    recording, _ = record(folder, OFTEN, command, status)
    listed = run(process.RCHK, "ps", recording).stdout.decode().splitlines()[1:]
    require(len(listed) >= 3, f"not all processes are listed: {listed}")
    for line in listed[:3]:
        done = run(process.RCHK, "dump", "-p", line.split()[0], "--count", "1", recording)
        require("goes on here" in done.stdout.decode(), text_of(done))
    require(str(status) in listed[0].split(), f"the exit status is not listed: {listed[0]}")
    shutil.rmtree(folder)


def debugged():
    """In gdb history ends at what was kept."""
    folder = folder_of("debugged")
    command, status = command_of("threads", 1200)
    recording, _ = record(folder, OFTEN, command, status)
    done = run(
        "gdb", "-nx", "-batch", "-ex", "set confirm off", "-ex", "set pagination off",
        "-ex", f"file {command[0]}",
        "-ex", f"target remote | {process.RCHK} replay --stdio {recording}",
        "-ex", "handle SIGUSR2 nostop noprint", "-ex", "info threads", "-ex", "continue",
        "-ex", "reverse-continue", "-ex", "print own",
        "-ex", "break adds", "-ex", "continue", "-ex", "backtrace", "-ex", "delete",
        "-ex", "reverse-continue", "-ex", "print 40 + 2")
    said = text_of(done)
    require(said.count("No more reverse-execution history") == 3, f"the ends are not told:\n{said}")
    for expected in ("adds (argument=", "$2 = 42"):
        require(expected in said, f"no {expected!r}:\n{said}")
    require(len(re.findall(r"^[* ]*\d+ +Thread", said, re.MULTILINE)) >= 5,
            f"not all threads are there:\n{said}")
    shutil.rmtree(folder)


def misuse():
    for words, expected in (
        (["record", "--keep", "3 apples", "--", "true"], "--keep"),
        (["record", "--keep", "0s", "--", "true"], "--keep"),
        (["record", "--keep", "1s", "--snapshot-overhead", "0", "--", "true"], "--keep"),
        (["save", "999999999"], "999999999"),
    ):
        done = run(process.RCHK, *words)
        check_equal(f"{words}: exit status", MISUSE, done.status, text_of(done))
        require(expected in text_of(done), f"{words}: {text_of(done)}")
