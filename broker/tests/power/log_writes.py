"""A log of all writes to a disk, and what the disk holds when the power fails in the middle of it.

The format is that of the kernel's dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst), which QEMU's
blklogwrites filter writes as well: a superblock, then for each write one sector with an entry and behind it the data.
"""
import os
import struct

MAGIC = 0x6A736677736872
SUPER = struct.Struct("<QQQI")   # magic, version, entries, bytes of a sector
ENTRY = struct.Struct("<QQQQ")   # sector, sectors, flags, bytes of a mark's text
SECTOR = 512                     # of positions and lengths, whatever the log's own sectors are
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
# What a disk writes in one piece, if it keeps its promise.
TORN_AT = 512


class WriteLog:
    def __init__(self, path):
        self.file = os.open(path, os.O_RDONLY)

    def count(self):
        """Entries so far. QEMU writes the superblock at each flush, before it answers the flush: whoever learnt that
        something is durable finds the flush counted here."""
        magic, _, count, self.sector = SUPER.unpack(os.pread(self.file, SUPER.size, 0))
        return count if magic == MAGIC else 0

    def entries(self):
        """(where on the disk, length, flags, where in the log), all in bytes, from the first to the last."""
        count, at = self.count(), self.sector
        for _ in range(count):
            sector, sectors, flags, _ = ENTRY.unpack(os.pread(self.file, ENTRY.size, at))
            at += self.sector
            length = sectors * SECTOR
            has_data = not flags & DISCARD
            yield sector * SECTOR, length, flags, at if has_data else None
            # Data fill whole sectors of the log.
            at += -(-length // self.sector) * self.sector if has_data else 0

    def data(self, at, length):
        return os.pread(self.file, length, at)


class Replay:
    """A disk image that follows a log. Cuts must come in rising order."""

    def __init__(self, log, image, size):
        self.log, self.size = log, size
        self.entries = list(log.entries())
        self.image = os.open(image, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.truncate(self.image, size)
        self.path, self.done = image, 0

    def flushed_before(self, cut):
        """The number of the entry behind the last flush before `cut`."""
        for number in range(max(cut, 0), 0, -1):
            if self.entries[number - 1][2] & FLUSH:
                return number
        return 0

    def cut(self, cut, target, random, lying=0):
        """Writes into `target` what the disk holds when the power fails before entry `cut`: everything before the last
        flush, and of what came after it all, nothing, or any part, and of that some torn. Says what was kept.
        `lying`: entries that the disk calls flushed and loses all the same."""
        flushed = max(self.done, self.flushed_before(cut - lying))
        while self.done < flushed:
            self.apply(self.image, self.entries[self.done])
            self.done += 1
        copy_sparse(self.image, target, self.size)
        loose = self.entries[flushed:cut]
        chance = random.choice([0, 0.5, 0.5, 0.9, 1])
        kept = torn = 0
        file = os.open(target, os.O_RDWR)
        for entry in loose:
            if entry[2] & FUA:
                self.apply(file, entry)
                kept += 1
            elif random.random() < chance:
                tear = chance < 1 and random.random() < 0.1
                self.apply(file, entry, random if tear else None)
                kept += 1
                torn += tear
        os.close(file)
        return f"{kept} of {len(loose)} unflushed writes, {torn} torn"

    def apply(self, file, entry, tear=None):
        where, length, flags, at = entry
        if flags & MARK:
            return
        for begin in range(0, length, 1 << 20):
            piece = min(1 << 20, length - begin)
            data = bytes(piece) if at is None else self.log.data(at + begin, piece)
            if tear is None:
                os.pwrite(file, data, where + begin)
            else:
                for sector in range(0, piece, TORN_AT):
                    if tear.random() < 0.5:
                        os.pwrite(file, data[sector:sector + TORN_AT], where + begin + sector)


def copy_sparse(source, target, size):
    """Copies the parts of a file that hold data."""
    copy = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.truncate(copy, size)
    at = 0
    while at < size:
        try:
            begin = os.lseek(source, at, os.SEEK_DATA)
        except OSError:  # no data behind
            break
        at = os.lseek(source, begin, os.SEEK_HOLE)
        while begin < at:
            begin += os.copy_file_range(source, copy, min(at - begin, 64 << 20), begin, begin)
    os.close(copy)
