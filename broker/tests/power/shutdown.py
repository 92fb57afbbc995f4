"""A broker on ext4 or XFS, whose file system is shut down again and again: see README.md."""
import os
import random
import shutil
import subprocess
import time

import machine
from ledger import Checker, Ledger

SETS = ["journal.file.bytes=4194304", "offsets.topic.num.partitions=4", "group.initial.rebalance.delay.ms=0",
        "log.retention.check.interval.ms=300", "log.segment.delete.delay.ms=200", "log.dir.reserve.bytes=16777216"]
FOREVER = float("inf")


class Rounds:
    def __init__(self, options, kind, home):
        self.options, self.kind, self.home = options, kind, home
        self.random = random.Random(f"{options.seed}/{kind}")
        image = os.path.join(home, "image")
        with open(image, "wb") as file:
            file.truncate(machine.VOLUME_BYTES)
        machine.run(*machine.MAKE[kind], image)
        self.mount = machine.Mount(image, os.path.join(home, "mnt"))
        self.mount.mount()
        # One data directory, or two that share the file system: then both fail at once.
        names = self.random.choice([["a"], ["a", "b"]])
        self.dirs = ",".join(os.path.join(self.mount.path, name) for name in names)
        self.broker = machine.Broker(options.broker, home, SETS)
        self.ended_alone = self.records = 0
        # XFS: when a shutdown drops what its journal was about to write, an fsync that waits for that may say success
        # (xlog_cil_force_seq finds nothing to wait for any more). The metadata log grows with each entry and depends on it.
        self.doubtful = []

    def run(self):
        self.start()
        # One in flight: librdkafka takes KAFKA_STORAGE_ERROR for "not stored", and where more was under way behind it begins
        # a new epoch and sends all again, also what was stored: doubled by the client, not by the broker.
        ledger = Ledger(self.broker.bootstrap, self.options.seed, position=time.monotonic, in_flight=1)
        ledger.start()
        done = {}
        for number in range(self.options.rounds):
            before = {partition: len(partition.positions) for partition in ledger.partitions}
            how = self.one_round()
            self.held(f"round {number} ({how})", ledger, done)
            done = before
        ledger.stop()
        self.held("at the end", ledger, None, exact=True)
        code = self.broker.stop()
        if code != 0:
            raise RuntimeError(f"a clean stop ended with {code}:\n{self.broker.said()}")
        self.fail_over()
        self.held("after a clean stop", ledger, None, exact=True)
        self.broker.kill()
        self.mount.umount()
        sent = sum(len(partition.positions) for partition in ledger.partitions)
        lives = sum(len(lives) for lives in ledger.lives.values())
        print(f"{self.kind}: {self.options.rounds} rounds, {sent} records acknowledged, {self.records} read back, {lives} topics "
              f"came and went; the broker ended by itself {self.ended_alone} times; nothing is lost", flush=True)

    def held(self, when, ledger, since, exact=False):
        checker = Checker(self.broker.bootstrap, ledger)
        wrong = checker.check(FOREVER, since, exact, self.doubtful) + ledger.trouble
        self.records += checker.records
        if wrong:
            raise RuntimeError(f"{self.kind}, {when}:\n  " + "\n  ".join(wrong[:20]) + f"\n{self.broker.said()}")

    def one_round(self):
        time.sleep(self.random.uniform(0.05, 1.5))
        words = []
        if self.kind == "xfs" and self.random.random() < 0.6:
            words.append("reflinks")
            self.share_blocks()
            time.sleep(self.random.uniform(0, 0.5))
        how = self.random.choice(["under load", "under load", "while it stops", "after it stopped"])
        words.append(how)
        if how == "after it stopped":
            code = self.broker.stop()
            if code != 0:
                raise RuntimeError(f"a clean stop ended with {code}:\n{self.broker.said()}")
        elif how == "while it stops":
            self.broker.process.terminate()
            time.sleep(self.random.uniform(0, 0.3))
        self.fail()
        while self.random.random() < 0.3:
            words.append("again while it started")
            self.start(wait=False)
            time.sleep(self.random.uniform(0, 0.4))
            self.fail()
        self.start()
        return ", ".join(words)

    def fail_over(self):
        self.fail()
        self.start()

    def fail(self):
        """The file system stops; the broker ends by itself or is killed; the file system recovers from its own journal."""
        begun = time.monotonic()
        self.mount.shut_down()
        if self.broker.process.poll() is None:
            try:
                self.broker.process.wait(self.random.choice([0, 0.05, 2]))
                self.ended_alone += 1
            except subprocess.TimeoutExpired:
                pass
        self.broker.kill()
        self.mount.umount()
        self.mount.mount()
        if self.kind == "xfs":
            self.doubtful.append((begun, time.monotonic()))

    def start(self, wait=True):
        self.broker.start(self.dirs, self.random.choice(self.options.cores))
        if wait:
            self.broker.wait_until_ready()

    def share_blocks(self):
        """Copies of live segments and journals that share their blocks: every overwrite must move them, as a change of the
        file's extents that only the file system's journal holds."""
        copies = os.path.join(self.mount.path, "copies")
        shutil.rmtree(copies, ignore_errors=True)
        os.mkdir(copies)
        script = 'find "$@" -type f \\( -name "*.log" -o -name "*journal*" \\) -print0 | ' \
                 f'xargs -0 -r cp --reflink=always --parents -t "{copies}"'
        # A segment may be deleted meanwhile.
        subprocess.run(["sh", "-c", script, "sh", *self.dirs.split(",")], capture_output=True)


def main():
    parser = machine.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    options.file_system = options.file_system or ["ext4", "xfs"]
    machine.need("losetup", *(f"mkfs.{kind}" for kind in options.file_system))
    machine.on_each(options, "millstream-shutdown-", Rounds)


if __name__ == "__main__":
    main()
