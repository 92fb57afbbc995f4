"""The machine under a test: file systems in loop files, and a broker process on them."""
import argparse
import atexit
import fcntl
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

# _IOR('X', 125, __u32), the same number for EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN (ioctl_xfs_goingdown(2)).
SHUTDOWN = 0x8004587D
# EXT4_GOING_FLAGS_NOLOGFLUSH, XFS_FSOP_GOING_FLAGS_NOLOGFLUSH: what the file system's own journal has not on disk yet is gone.
NOLOGFLUSH = 2

MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"],
    "xfs": ["mkfs.xfs", "-q", "-f", "-K"],
}
# Sparse; the copies that share blocks with live segments keep old blocks alive.
VOLUME_BYTES = 2 << 30
OWN_MOUNTS = "MILLSTREAM_TEST_OWN_MOUNTS"


# What must be undone at the end, the last of these kinds first: a file system cannot go before the broker on it.
DISKS, MOUNTS, BROKERS = [], [], []


@atexit.register
def clean_up():
    for undo in [*BROKERS, *MOUNTS, *DISKS]:
        undo()


def skip(reason):
    """Ends the program with the status that automake and meson read as "skipped"."""
    print(f"skipped: {reason}", flush=True)
    sys.exit(77)


def need(*programs):
    if os.geteuid() != 0:
        skip("mounting needs root")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    packages = {"mkfs.xfs": "xfsprogs", "mkfs.ext4": "e2fsprogs", "qemu-storage-daemon": "qemu-system-common",
                "fusermount3": "fuse3", "losetup": "mount"}
    for program in programs:
        if shutil.which(program) is None:
            skip(f"{program} is not there (Debian: {packages.get(program, program)})")
    if not os.path.exists("/dev/loop-control"):
        skip("this kernel has no loop devices")
    if os.environ.get(OWN_MOUNTS) is None:
        # Mounts that only this process and its children see: a copy in a mount namespace that somebody else makes meanwhile
        # would keep a stopped file system alive after it was unmounted here, and the next mount would get that one.
        os.environ[OWN_MOUNTS] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])


def arguments(description):
    """Those that both tests take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--broker", required=True, help="the millstream binary")
    parser.add_argument("--file-system", choices=["ext4", "xfs"], action="append", help="both, if not given")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--cores", nargs="+", default=["0", "0-1"], help="a choice of --cores, another one at each start")
    parser.add_argument("--dir", help="where the volumes are made; the default temporary directory, if not given")
    return parser


def on_each(options, prefix, test):
    """Runs the test in a directory of its own on each file system; what failed is kept."""
    print(f"seed {options.seed}", flush=True)
    for kind in options.file_system:
        home = tempfile.mkdtemp(prefix=prefix, dir=options.dir)
        try:
            test(options, kind, home).run()
        except Exception as error:
            print(f"FAILED with --seed {options.seed}: {error}\nkept: {home}", file=sys.stderr, flush=True)
            raise SystemExit(1) from None
        shutil.rmtree(home)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def until(what, condition, seconds=60):
    """Waits for a condition; the limit is far above what it takes."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for: {what}")
        time.sleep(0.02)


class Mount:
    """A file system on a block device (or on a file, over a loop device of mount's own)."""

    def __init__(self, device, path):
        self.device, self.path, self.mounted = device, path, False
        os.makedirs(path, exist_ok=True)
        MOUNTS.append(self.umount)

    def mount(self):
        options = ["-o", "loop"] if os.path.isfile(self.device) else []
        run("mount", *options, self.device, self.path)
        self.mounted = True

    def shut_down(self):
        """The file system stops at once, as it does when its device is gone: nothing more is written, not even its log."""
        directory = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        finally:
            os.close(directory)

    def umount(self):
        if not self.mounted:
            return
        device = os.path.basename(run("findmnt", "-n", "-o", "SOURCE", self.path))

        def gone():
            # Busy for a moment after kill -9: the kernel still closes the files of the dead process's rings.
            return subprocess.run(["umount", self.path], capture_output=True).returncode == 0

        until(f"{self.path} to be unmounted", gone)
        self.mounted = False
        # What statistics the kernel keeps of a file system goes with it.
        until(f"{device} to be free", lambda: not any(os.path.exists(f"{at}/{device}") for at in ("/proc/fs/ext4", "/sys/fs/xfs")))


class Broker:
    """A broker on a fixed port; it may be started and ended many times."""

    def __init__(self, binary, home, sets):
        self.binary, self.sets, self.process = binary, sets, None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.bootstrap = "127.0.0.1:%d" % free.getsockname()[1]
        self.log = os.path.join(home, "broker.log")
        self.said_before = 0
        BROKERS.append(self.kill)

    def start(self, log_dirs, cores):
        sets = [f"listeners=PLAINTEXT://{self.bootstrap}", f"log.dirs={log_dirs}", *self.sets]
        command = [self.binary, "--cores", cores] + [word for each in sets for word in ("--set", each)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KAFKA_")}
        with open(self.log, "ab") as log:
            self.said_before = log.tell()
            self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_until_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"the broker ended with {self.process.returncode}:\n{self.said()}")
            return " is ready" in self.said()

        try:
            until("the broker", ready)
        except TimeoutError as error:
            raise RuntimeError(f"{error}\n{self.said()}") from None

    def said(self):
        """What it wrote since its last start."""
        with open(self.log, "rb") as log:
            log.seek(self.said_before)
            return log.read().decode(errors="replace")

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    def stop(self):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)
