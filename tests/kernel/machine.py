"""A virtual machine that boots a kernel with an initramfs, runs commands and powers off."""

import pathlib
import re
import shutil

from harness import process
from harness.report import Failed, Skipped
from kernel.image import Image

QEMU = "qemu-system-x86_64"
KERNEL = process.BUILD / "kernel"  # where ./dev setup unpacks the package
FOLDER = pathlib.Path(__file__).resolve().parent
KVM_TIMEOUT_S = 10  # a machine that does nothing is up in two


def kernel_image():
    found = sorted(KERNEL.glob("boot/vmlinuz-*"))
    if not found:
        raise Skipped("there is no kernel in build/kernel; ./dev setup fetches it")
    return found[-1]


def modules(*names):
    return [path for name in names for path in sorted(KERNEL.glob(f"**/{name}.ko"))]


def new_image(commands):
    """Only what runs `commands`, pairs of a name and a shell command."""
    for program in (QEMU, "busybox"):
        if shutil.which(program) is None:
            raise Skipped(f"{program} is not installed")
    image = Image()
    for folder in ("proc", "sys", "dev", "tmp", "root"):
        image.add_folder(folder)
    image.add_program(shutil.which("busybox"), "/bin/busybox")
    image.add_link("/bin/sh", "busybox")
    image.add_file("/init", (FOLDER / "init.sh").read_bytes())
    image.add_file("/commands", "".join(f"{name} {command}\n" for name, command in commands).encode())
    return image


def boot(image, folder, accelerator, timeout):
    """What it wrote to its console until it powered off, or as long as it was waited for."""
    archive = folder / "initramfs"
    image.write(archive)
    done = process.run(
        [QEMU, *accelerator, "-m", "2G", "-smp", "2", "-nodefaults", "-nographic", "-no-reboot",
         "-serial", "stdio", "-kernel", kernel_image(), "-initrd", archive,
         "-append", "console=ttyS0 quiet panic=-1"],
        timeout=timeout,
    )
    console = (done.stdout + done.stderr).decode(errors="replace").replace("\r", "")
    return console + (f"\n(no end after {process.PATIENCE * timeout} s)\n" if done.timed_out else "")


def fastest(folder):
    """Options for KVM where a machine comes up with it, which the device alone does not promise."""
    emulated = ["-accel", "tcg,thread=multi", "-cpu", "max"]
    if not pathlib.Path("/dev/kvm").exists():
        return emulated
    kvm = ["-accel", "kvm", "-cpu", "host"]
    console = boot(new_image([("up", "true")]), folder, kvm, KVM_TIMEOUT_S)
    return kvm if "up" in outputs(console) else emulated


def outputs(console):
    """Of every command that came to its end: name to (status, output)."""
    found = re.findall(r"^@begin (\S+)\n(.*?)^@end \1 (\d+) \S+$", console, re.S | re.M)
    return {name: (int(status), output) for name, output, status in found}


def require_end(name, results, console):
    if name not in results:
        raise Failed(f"the machine did not come to the end of {name}:\n{console[-2000:]}")
    return results[name]
