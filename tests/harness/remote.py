"""A client of gdb's remote protocol, for tests that ask more, or faster, than gdb would."""

import subprocess

from harness import process
from harness.report import Failed


def framed(text):
    return f"${text}#{sum(text.encode()) % 256:02x}".encode()


def expanded(text):
    """Without the protocol's run-length encoding."""
    plain = []
    rest = iter(text)
    for character in rest:
        plain += plain[-1] * (ord(next(rest)) - 29) if character == "*" else character
    return "".join(plain)


class Remote:
    """Speaks to `rchk replay --stdio`."""

    def __init__(self, recording, *options):
        self.command = [str(word) for word in
                        (process.RCHK, "replay", "--stdio", *options, recording)]
        self.server = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.console = ""
        self.ask("QStartNoAckMode")
        self.server.stdin.write(b"+")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.stdin.close()
        self.server.wait(timeout=240)
        self.server.stdout.close()

    def send(self, text):
        self.server.stdin.write(framed(text))
        self.server.stdin.flush()

    def interrupt(self):
        self.server.stdin.write(b"\x03")
        self.server.stdin.flush()

    def byte(self):
        got = self.server.stdout.read(1)
        if not got:
            raise Failed(f"the connection ended\nshown by: {process.shell_line(self.command)}")
        return got

    def reply(self):
        """The next packet; what it says for the console is kept apart."""
        while True:
            while self.byte() != b"$":
                continue
            text = b""
            while (got := self.byte()) != b"#":
                text += got
            self.byte(), self.byte()
            text = expanded(text.decode("latin-1"))
            if not text.startswith("O") or text == "OK":
                return text
            self.console += bytes.fromhex(text[1:]).decode(errors="replace")

    def ask(self, text):
        self.send(text)
        return self.reply()

    def monitor(self, command):
        """What a monitor command says."""
        self.console = ""
        answer = self.ask("qRcmd," + command.encode().hex())
        if answer == "OK":
            return self.console
        if answer.startswith("E"):
            raise Failed(f"monitor {command}: {answer} {self.console}")
        return self.console + bytes.fromhex(answer).decode(errors="replace")

    def registers(self):
        return bytes.fromhex(self.ask("g").replace("x", "0"))

    def register(self, number):
        """One of rax, rbx, ... r15, rip, in gdb's order."""
        return int.from_bytes(self.registers()[8 * number:8 * number + 8], "little")
