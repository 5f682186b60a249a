"""An initramfs: programs with the libraries that they need, and other files, as a cpio archive.

The archive is in the "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst). It
is written here rather than by cpio so that nobody has to be root for the owners in it.
"""

import gzip
import os
import pathlib
import re
import stat
import subprocess
import tempfile


class Image:
    def __init__(self):
        self.entries = {}  # path without its first slash: (mode, contents)

    def add_folder(self, path):
        path = path.strip("/")
        for parent in reversed(pathlib.PurePosixPath(path).parents):
            if str(parent) != ".":
                self.entries.setdefault(str(parent), (stat.S_IFDIR | 0o755, b""))
        self.entries.setdefault(path, (stat.S_IFDIR | 0o755, b""))

    def add_file(self, path, contents, mode=0o755):
        self.add_folder(os.path.dirname(path) or "/")
        self.entries[path.strip("/")] = (stat.S_IFREG | mode, contents)

    def add_link(self, path, target):
        self.add_folder(os.path.dirname(path) or "/")
        self.entries[path.strip("/")] = (stat.S_IFLNK | 0o777, target.encode())

    def add_program(self, source, path=None):
        """A program of this machine, and the libraries that it is linked with, where they are."""
        source = pathlib.Path(source).resolve()
        self.add_file(path or str(source), stripped(source))
        for library in libraries_of(source):
            self.add_file(library, pathlib.Path(library).read_bytes())

    def write(self, target):
        with gzip.open(target, "wb", compresslevel=1) as archive:
            for number, (path, (mode, contents)) in enumerate(self.entries.items(), 1):
                if path:
                    archive.write(record(number, path, mode, contents))
            archive.write(record(0, "TRAILER!!!", 0, b""))


def record(number, path, mode, contents):
    name = path.encode() + b"\0"
    fields = [number, mode, 0, 0, 1, 0, len(contents), 0, 0, 0, 0, len(name), 0]
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return padded(header + name) + padded(contents)


def padded(data):
    return data + bytes(-len(data) % 4)


def stripped(program):
    """Without what debuggers read: an emulated machine unpacks little at a time."""
    with tempfile.NamedTemporaryFile() as smaller:
        done = subprocess.run(["strip", "-o", smaller.name, str(program)], capture_output=True,
                              check=False)
        return pathlib.Path(smaller.name if done.returncode == 0 else program).read_bytes()


def libraries_of(program):
    """Absolute paths, the dynamic loader's among them; none for a static program."""
    done = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    return sorted(set(re.findall(r"(/\S+) \(0x", done.stdout)))
