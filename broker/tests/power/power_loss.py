"""A broker on a disk that logs all writes; then the power fails at random places of that log: see README.md."""
import os
import random
import subprocess
import time

import machine
from ledger import Checker, Ledger
from log_writes import Replay, WriteLog
from shutdown import SETS


class LoggedDisk:
    """A block device whose writes are logged: an image, exported by qemu-storage-daemon through its blklogwrites filter as
    a file (FUSE), and a loop device on that file."""

    def __init__(self, home):
        image, log, export = (os.path.join(home, name) for name in ("logged", "log", "export"))
        for path, size in ((image, machine.VOLUME_BYTES), (log, 0), (export, 0)):
            with open(path, "wb") as file:
                file.truncate(size)
        self.daemon = subprocess.Popen([
            "qemu-storage-daemon",
            "--blockdev", f"driver=file,node-name=image,filename={image}",
            "--blockdev", f"driver=file,node-name=log,filename={log}",
            "--blockdev", "driver=blklogwrites,node-name=both,file=image,log=log,log-sector-size=512",
            "--export", f"type=fuse,id=export,node-name=both,mountpoint={export},writable=on,growable=off,allow-other=off",
        ])
        self.loop = None
        machine.DISKS.append(self.close)
        machine.until("the exported disk", lambda: self.daemon.poll() is not None or os.path.getsize(export))
        if self.daemon.poll() is not None:
            machine.skip("qemu-storage-daemon cannot export by FUSE here")
        # Not direct: QEMU up to 10.0 takes the next request into the buffer of a write that is still under way (seen with 7.2:
        # mkfs came out damaged). Without direct I/O the kernel writes to a FUSE file one request at a time, and through.
        self.loop = machine.run("losetup", "-f", "--show", "--direct-io=off", export)
        self.log = WriteLog(log)

    def close(self):
        if self.loop:
            machine.run("losetup", "-d", self.loop)
            self.loop = None
        if self.daemon.poll() is None:
            self.daemon.terminate()
            self.daemon.wait(60)


class PowerLoss:
    def __init__(self, options, kind, home):
        self.options, self.kind, self.home = options, kind, home
        self.random = random.Random(f"{options.seed}/{kind}")
        self.broker = machine.Broker(options.broker, home, SETS)
        self.names = self.random.choice([["a"], ["a", "b"]])
        self.records = self.loose = 0

    def start(self, mount):
        dirs = ",".join(os.path.join(mount.path, name) for name in self.names)
        self.broker.start(dirs, self.random.choice(self.options.cores))
        self.broker.wait_until_ready()

    def run(self):
        disk = LoggedDisk(self.home)
        machine.run(*machine.MAKE[self.kind], disk.loop)
        mount = machine.Mount(disk.loop, os.path.join(self.home, "mnt"))
        mount.mount()
        self.start(mount)
        ledger = Ledger(self.broker.bootstrap, self.options.seed, disk.log.count)
        first = disk.log.count()
        self.load(ledger, mount)
        last = disk.log.count()
        self.broker.kill()
        mount.umount()
        disk.close()
        sent = sum(len(partition.positions) for partition in ledger.partitions)
        lives = sum(len(lives) for lives in ledger.lives.values())
        print(f"{self.kind}: {sent} records acknowledged, {lives} topics came and went, entries {first} to {last} of the log", flush=True)
        replay = Replay(disk.log, os.path.join(self.home, "replayed"), machine.VOLUME_BYTES)
        flushes = sum(1 for entry in replay.entries[first:last] if entry[2] & 1)
        for cut in sorted(self.random.randrange(first, last + 1) for _ in range(self.options.cuts)):
            self.cut(cut, replay, ledger)
        print(f"{self.kind}: {self.options.cuts} cuts between {flushes} flushes, {self.records} records read back; nothing is lost", flush=True)

    def load(self, ledger, mount):
        """Load, and in between what changes many files at once: clean stops, kills, other numbers of cores."""
        ledger.start()
        end = time.monotonic() + self.options.seconds
        while time.monotonic() < end and not ledger.trouble:
            time.sleep(self.random.uniform(0.5, 4))
            how = self.random.choice(["on", "stop", "kill"])
            if how == "stop" and self.broker.stop() != 0:
                raise RuntimeError(f"a clean stop failed:\n{self.broker.said()}")
            if how == "kill":
                self.broker.kill()
            if how != "on":
                self.start(mount)
        ledger.stop()
        if ledger.trouble:
            raise RuntimeError("\n".join(ledger.trouble))

    def cut(self, cut, replay, ledger):
        image = os.path.join(self.home, "cut")
        what = replay.cut(cut, image, self.random, self.options.lying)
        mount = machine.Mount(image, os.path.join(self.home, "mnt"))
        mount.mount()
        try:
            self.start(mount)
        except RuntimeError as error:
            raise RuntimeError(f"{self.kind}, cut at {cut} with {what}: {error}") from None
        checker = Checker(self.broker.bootstrap, ledger)
        wrong = checker.check(cut)
        self.records += checker.records
        if wrong:
            raise RuntimeError(f"{self.kind}, cut at {cut} with {what}:\n  " + "\n  ".join(wrong[:20]) + f"\n{self.broker.said()}")
        self.broker.kill()
        mount.umount()


def main():
    parser = machine.arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of load that is logged")
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--lying", type=int, default=0, metavar="ENTRIES",
                        help="the disk forgets so much of what it said was flushed: this must fail, or the test is worth nothing")
    options = parser.parse_args()
    options.file_system = options.file_system or ["ext4", "xfs"]
    machine.need("losetup", "qemu-storage-daemon", "fusermount3", *(f"mkfs.{kind}" for kind in options.file_system))
    if not os.path.exists("/dev/fuse"):
        machine.skip("this kernel has no FUSE")
    machine.on_each(options, "millstream-power-", PowerLoss)


if __name__ == "__main__":
    main()
