"""Children of every kind that subprocess knows, with time-outs and signals."""

import os
import signal
import subprocess
import sys

done = subprocess.run(["tr", "a-z", "A-Z"], input=b"shout\n", capture_output=True, check=True)
print(done.stdout)
print(subprocess.check_output("seq 1 100 | tail -n 2", shell=True))
first = subprocess.Popen(["seq", "1", "3000"], stdout=subprocess.PIPE)
second = subprocess.Popen(["grep", "-c", "9"], stdin=first.stdout, stdout=subprocess.PIPE)
first.stdout.close()
print(second.communicate()[0], first.wait())
try:
    subprocess.run(["sleep", "60"], timeout=0.05, check=False)
except subprocess.TimeoutExpired:
    print("timeout")
SLEEPER = "import time; print('up', flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE,
                         start_new_session=True)
print(child.stdout.readline())
os.killpg(child.pid, signal.SIGTERM)
print("killed", child.wait())
children = [subprocess.Popen(["sh", "-c", f"exit {i}"]) for i in range(10)]
print([each.wait() for each in children])
try:
    subprocess.run(["/does/not/exist"], check=False)
except FileNotFoundError as error:
    print("errno", error.errno)
env = {"WORD": "given", "PATH": os.environ["PATH"]}
print(subprocess.run(["sh", "-c", "echo $WORD; echo err >&2; exit 5"], env=env, text=True,
                     stderr=subprocess.STDOUT, stdout=subprocess.PIPE, check=False))
print("spawned", os.waitstatus_to_exitcode(
    os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", "exit 7"], env), 0)[1]))
