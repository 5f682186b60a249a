"""Real programs on generated inputs. Small by default; ./dev test programs --full for all of it."""

import gzip
import os
import pathlib
import random
import shutil
import subprocess

from harness import process
from harness.guests import compile_program
from harness.making import making
from harness.report import Skipped, Test
from record_replay import servers
from record_replay.cycle import Cycle, Subject, input_folder

SCRIPTS = pathlib.Path(__file__).resolve().parent / "scripts"


def tests(options):
    return [Test(f"programs/{name}", lambda n=name, make=make: run_program(n, make, options))
            for name, make in PROGRAMS.items()]


def run_program(name, make, options):
    subject = make(options.full)
    subject.name = f"programs/{name}"
    if shutil.which(subject.command[0]) is None:
        raise Skipped(f"{subject.command[0]} is not installed")
    return Cycle(subject, options.keep).run(options.repeat, options.soak)


def generated(name, make):
    """An input that is made once and kept."""
    path = input_folder() / name
    with making(path):
        if not path.exists():
            fresh = path.with_name(f".{name}")
            make(fresh)
            fresh.rename(path)
    return path


def text_file(megabytes):
    """Lines of words, the same every time."""

    def make(path):
        source = random.Random(1)
        words = ["".join(source.choices("abcdefghijklmnop", k=source.randint(2, 9)))
                 for _ in range(5000)]
        with path.open("w") as out:
            size = 0
            while size < megabytes * 1_000_000:
                line = " ".join(source.choices(words, k=12)) + f" {source.randint(0, 10**9)}\n"
                size += out.write(line)

    return generated(f"text-{megabytes}", make)


def many_files():
    def make(path):
        path.mkdir(exist_ok=True)
        source = random.Random(2)
        for number in range(2000):
            text = "needle\n" if number % 97 == 0 else "hay\n"
            (path / f"file-{number:05}").write_text(text * source.randint(1, 40))

    return generated("many-files", make)


def preprocessed_source():
    """A C source of some size, as cc1 reads it."""

    def make(path):
        subprocess.run(["gcc", "-E", "-P", "-o", path, SCRIPTS / "compile_me.c"], check=True)

    return generated("compile_me.i", make)


def cc1(full):
    program = subprocess.run(
        ["gcc", "-print-prog-name=cc1"], capture_output=True, text=True, check=True
    ).stdout.strip()
    level = "-O2" if full else "-O1"
    command = [program, "-quiet", level, str(preprocessed_source()), "-o", "out.s"]
    return Subject("", command, timeout=120)


def sqlite(where):
    def make(full):
        rows = 300_000 if full else 20_000
        script = (SCRIPTS / "workload.sql").read_text().replace("ROWS", str(rows))
        return Subject("", ["sqlite3", "-batch", where], stdin=script.encode(), timeout=180)

    return make


def compressed(_full):
    def make(path):
        path.write_bytes(gzip.compress(text_file(3).read_bytes(), mtime=0))

    return Subject("", ["gzip", "-dc", str(generated("text.gz", make))])


def script(interpreter, name):
    def make(full):
        command = [interpreter, str(SCRIPTS / name), "10" if full else "1"]
        return Subject("", command, timeout=120, environment={"PYTHONDONTWRITEBYTECODE": "1"})

    return make


def varying(make):
    def wrapped(full):
        subject = make(full)
        subject.varies = True
        return subject

    return wrapped


def on_text(command, small, large, timeout=60):
    """A command on a generated text, whose path replaces TEXT."""

    def make(full):
        text = str(text_file(large if full else small))
        return Subject("", [word.replace("TEXT", text) for word in command], timeout=timeout)

    return make


def built(source, flags):
    def make(_full):
        name = pathlib.Path(source).stem
        program = compile_program(process.ROOT / source, process.WORK / "programs" / name, flags)
        return Subject("", [str(program)])

    return make


def driver(full):
    """gcc as users call it: the driver, cc1, as."""
    command = ["gcc", "-O2", "-c", str(SCRIPTS / "compile_me.c"), "-o", "out.o"]
    return Subject("", command + (["-DLARGE"] if full else []), timeout=180, files=["out.o"])


def make_project(_full):
    """A small project, by make with two jobs."""

    def prepare(folder):
        for number in range(6):
            (folder / f"part{number}.c").write_text(
                f"int part{number}(int n) {{ return n ? n + part{number}(n - 1) : {number}; }}\n")
        (folder / "main.c").write_text(
            "#include <stdio.h>\n" + "".join(f"int part{n}(int);\n" for n in range(6)) +
            "int main(void) { printf(\"%d\\n\", " +
            " + ".join(f"part{n}(10)" for n in range(6)) + "); return 0; }\n")
        shutil.copy(SCRIPTS / "project.mk", folder / "Makefile")

    return Subject("", ["make", "-s", "-j2", "check"], timeout=180, prepare=prepare,
                   files=["program", "result"], needs=["gcc"])


def shell_script(name, *, status=0, needs=(), prepare=None, files=(), timeout=120):
    def make(full):
        return Subject("", ["bash", str(SCRIPTS / name), "10" if full else "1"], status=status,
                       needs=list(needs), prepare=prepare, files=list(files), timeout=timeout)

    return make


def git_origin(folder):
    subprocess.run(["bash", SCRIPTS / "git_origin.sh"], cwd=folder, check=True)


def python(name):
    def make(full):
        command = ["/usr/bin/python3", "-B", str(SCRIPTS / name), "10" if full else "1"]
        return Subject("", command, timeout=180, environment={"PYTHONHASHSEED": "0"})

    return make


def go_program(_full):
    def make(path):
        environment = {**os.environ, "GOCACHE": str(process.WORK / "go-cache"), "GOFLAGS": "",
                       "GO111MODULE": "off", "HOME": str(process.WORK)}
        subprocess.run(["go", "build", "-o", path, SCRIPTS / "goroutines.go"], check=True,
                       env=environment, cwd=process.WORK)

    if shutil.which("go") is None:
        raise Skipped("go is not installed")
    return Subject("", [str(generated("goroutines", make))], timeout=120)


def java(_full):
    def make(path):
        path.mkdir(exist_ok=True)
        subprocess.run(["javac", "-d", path, SCRIPTS / "Threads.java"], check=True)

    if shutil.which("javac") is None:
        raise Skipped("javac is not installed")
    return Subject("", ["java", "-cp", str(generated("java-classes", make)), "Threads"],
                   timeout=180)


PROGRAMS = {
    "true": lambda full: Subject("", ["/bin/true"]),
    "false": lambda full: Subject("", ["/bin/false"], status=1),
    "ls": lambda full: Subject("", ["ls", "-l", str(many_files())]),
    "grep": lambda full: Subject("", ["grep", "-r", "needle", str(many_files())]),
    "awk": on_text(["gawk", "{ n[$1] += $NF } END { for (k in n) s += n[k]; print s }", "TEXT"],
                   2, 20),
    "sort": on_text(["sort", "--parallel=1", "-S", "64M", "-T", ".", "TEXT"], 5, 100, 240),
    "xz": on_text(["xz", "-T1", "-1", "-c", "TEXT"], 2, 20, 240),
    "gzip": on_text(["gzip", "-c", "TEXT"], 4, 40),
    "gunzip": compressed,
    "sha256sum": on_text(["sha256sum", "TEXT"], 5, 50),
    "dd": on_text(["dd", "bs=512", "count=4000", "status=none", "if=TEXT"], 2, 2),
    "date": varying(lambda full: Subject("", ["date", "+%s.%N"])),
    "sqlite_memory": sqlite(":memory:"),
    "sqlite_file": sqlite("data.db"),
    "python": varying(script("/usr/bin/python3", "workload.py")),
    "lua": script("lua5.4", "workload.lua"),
    "perl": script("perl", "workload.pl"),
    "cc1": cc1,
    "nbody": built("bench/programs/nbody.c", ["-O2", "-lm"]),
    "fannkuch_static": built("bench/programs/fannkuch.c", ["-O2", "-static"]),
    "gcc_driver": driver,
    "make_j2": make_project,
    "bash_pipelines": shell_script("pipelines.sh", status=3),
    "xz_two_threads": on_text(["xz", "-T2", "-1", "--block-size=1MiB", "-c", "TEXT"], 5, 50, 240),
    "pigz": on_text(["pigz", "-n", "-p", "2", "-c", "TEXT"], 4, 40, 120),
    "python_threading": python("py_threading.py"),
    "python_multiprocessing": python("py_multiprocessing.py"),
    "python_shared_memory": python("py_shared_memory.py"),
    "python_subprocess": python("py_subprocess.py"),
    "python_asyncio": python("py_asyncio.py"),
    "redis": servers.redis(io_threads=1),
    "redis_io_threads": servers.redis(io_threads=2),
    "nginx": servers.nginx,
    "memcached": servers.memcached,
    "node_server": servers.node,
    "node_workers": lambda full: Subject(
        "", ["node", str(SCRIPTS / "node_workers.js"), "10" if full else "1"], timeout=180,
        files=["key"]),
    "git_clone_gc": shell_script("git_local.sh", needs=["git"], prepare=git_origin),
    "sqlite_two_processes": shell_script("sqlite_two.sh", needs=["sqlite3"]),
    "perl_processes": script("perl", "perl_processes.pl"),
    "tmux": shell_script("tmux_shell.sh", needs=["tmux"]),
    "openssl_speed": varying(lambda full: Subject(
        "", ["openssl", "speed", "-seconds", "1", "-bytes", "1024", "sha256"])),
    "go": go_program,
    "ssh_keygen": varying(lambda full: Subject(
        "", ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "key"])),
    "luajit": script("luajit", "luajit.lua"),
    "java": java,
}
