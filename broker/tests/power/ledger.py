"""A load on a broker, and a ledger of what the broker has promised meanwhile.

Every promise carries the *position* at which it was received, a number that a test defines (say, of the entry in a log of
all writes that the disk has seen). `Checker` then says whether a broker that came back from position `cut` has kept each
promise received up to there, and has made up nothing.

Offsets are known beforehand: one idempotent producer alone writes record n of a partition as its n-th.
"""
import contextlib
import random
import struct
import threading
import time
import zlib

try:
    from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient, NewTopic
except ImportError:
    import machine
    machine.skip("confluent-kafka is not installed for this Python (pip install confluent-kafka==2.11.1)")

QUIET = {"log_level": 0, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100}
PATIENT = {**QUIET, "message.timeout.ms": 600000, "retry.backoff.ms": 20, "retry.backoff.max.ms": 100}
# Bytes that do not repeat where a block ends: a block in the wrong place is found.
NOISE = random.Random(1).randbytes(2 << 20)
GROUP = "ledger"
HEAD = struct.Struct("<QQ")
# Bytes a second, so that deleting records keeps up and the volume does not fill.
RATE = 5e6
# Bytes of a partition that may wait for their answers.
WAITING_BYTES_MAX = 4 << 20

# name, partitions, configuration, smallest and largest record: journal only, both ways mixed, blocks straight into the
# segment, and one that loses its oldest segments all the time.
TOPICS = [
    ("small", 4, {"segment.bytes": "1048576"}, (20, 300)),
    ("mixed", 3, {"segment.bytes": "1048576"}, (100, 120_000)),
    ("large", 2, {"segment.bytes": "4194304", "max.message.bytes": "2000000"}, (200_000, 900_000)),
    ("kept", 2, {"segment.bytes": "1048576", "retention.bytes": "3145728"}, (1000, 30_000)),
]
# Names that come and go; few, so that names come back as topics of their own.
BRIEF = [f"brief-{number}" for number in range(6)]


class Partition:
    def __init__(self, topic, number, sizes, instance=0, retained=False):
        self.topic, self.number, self.sizes, self.instance, self.retained = topic, number, sizes, instance, retained
        self.sent, self.delete_sent = 0, 0
        # positions[n]: when record n was acknowledged
        self.positions = []
        # (position, offset), rising: deleted up to offset, committed up to offset
        self.deleted, self.committed = [(0, 0)], [(0, 0)]

    def __str__(self):
        return f"{self.topic}-{self.number}"

    def value(self, number):
        """Record `number`: any size of the topic's, contents of no other record."""
        key = zlib.crc32(f"{self.topic}/{self.number}/{self.instance}/{number}".encode())
        low, high = self.sizes
        size = low + key % (high - low + 1)
        start = key * 7919 % (len(NOISE) - size)
        return HEAD.pack(key, number) + NOISE[start:start + size]

    def promised_end(self, cut):
        """Records acknowledged at `cut` or before. Positions rise, so a search by halves finds them."""
        low, high = 0, len(self.positions)
        while low < high:
            middle = (low + high) // 2
            if self.positions[middle] <= cut:
                low = middle + 1
            else:
                high = middle
        return low


class Brief:
    """One life of a topic that comes and goes; None: not asked for, or no answer."""

    def __init__(self, name, instance, create_sent):
        self.create_sent, self.created, self.delete_sent, self.deleted = create_sent, None, None, None
        self.partition = Partition(name, 0, (10, 2000), instance)


class Ledger:
    """Topics, the load on them (threads, until `stop`), and what was promised."""

    def __init__(self, bootstrap, seed, position=lambda: 0, in_flight=5):
        self.bootstrap, self.position, self.in_flight = bootstrap, position, in_flight
        self.random = random.Random(seed)
        self.partitions = [Partition(name, number, sizes, retained="retention.bytes" in config)
                           for name, count, config, sizes in TOPICS for number in range(count)]
        self.lives = {name: [] for name in BRIEF}
        self.trouble, self.stopping = [], threading.Event()
        # Held while a topic is created or deleted, or records are.
        self.changing = threading.Lock()
        self.admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})
        wanted = [NewTopic(name, count, 1, config=config) for name, count, config, _ in TOPICS]
        for future in self.admin.create_topics(wanted).values():
            future.result(60)
        self.threads = [threading.Thread(target=self.guarded, args=(task,), daemon=True)
                        for task in (self.produce, self.come_and_go, self.commit)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        """No new load; waits for all answers, so the broker must be there."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(300)
            if thread.is_alive():
                self.trouble.append(f"{thread} did not end")

    def guarded(self, task):
        try:
            task()
        except Exception as error:  # whatever it is, the test must end and say so
            self.trouble.append(f"{task.__name__}: {error!r}")

    def produce(self):
        producer = Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True, "linger.ms": 1,
                             "max.in.flight": self.in_flight, "message.max.bytes": 2000000, "queue.buffering.max.kbytes": 65536, **PATIENT})
        begun, volume = time.monotonic(), 0
        while not self.stopping.is_set() and not self.trouble:
            partition = self.random.choice(self.partitions)
            burst = self.random.choice([1, 1, 5, 40]) if partition.sizes[1] < 10_000 else 1
            waiting = partition.sent - len(partition.positions) + burst
            if waiting < 2000 and waiting * partition.sizes[1] < WAITING_BYTES_MAX:
                for _ in range(burst):
                    value = partition.value(partition.sent)
                    volume += len(value)
                    producer.produce(partition.topic, value, partition=partition.number,
                                     on_delivery=self.delivered(partition, partition.sent))
                    partition.sent += 1
            producer.poll(self.random.choice([0, 0.001, 0.003]))
            ahead = volume / RATE - (time.monotonic() - begun)
            if ahead > 0.05:
                producer.poll(min(ahead, 0.1))
        left = producer.flush(300)
        if left:
            self.trouble.append(f"{left} records were never answered")

    def delivered(self, partition, number):
        def answer(error, message):
            if error is not None:
                self.trouble.append(f"{partition}: record {number} failed: {error}")
            elif message.offset() != number or len(partition.positions) != number:
                self.trouble.append(f"{partition}: record {number} was acknowledged at offset {message.offset()} as the "
                                    f"{len(partition.positions)}th")
            else:
                partition.positions.append(self.position())
        return answer

    def come_and_go(self):
        """Creates topics, writes a little, deletes them; deletes records of the others."""
        count = 0
        while not self.stopping.wait(self.random.uniform(0, 0.15)) and not self.trouble:
            with self.changing:
                count += 1
                name = self.random.choice(BRIEF)
                life = self.lives[name][-1] if self.lives[name] else None
                if self.random.random() < 0.4:
                    self.delete_records(self.random.choice(self.partitions))
                elif life is None or life.deleted is not None:
                    self.create(Brief(name, count, self.position()))
                else:
                    self.delete(life)

    def create(self, life):
        self.lives[life.partition.topic].append(life)
        name = life.partition.topic
        try:
            self.admin.create_topics([NewTopic(name, 1, 1)], request_timeout=2)[name].result(30)
        except KafkaException:
            return
        life.created = self.position()
        partition, failed = life.partition, []
        # One record at a time and none twice: each is there or not, and none after one without an answer.
        writer = Producer({"bootstrap.servers": self.bootstrap, **PATIENT, "message.timeout.ms": 3000, "retries": 0})
        for number in range(self.random.choice([0, 1, 10])):
            partition.sent += 1
            writer.produce(name, partition.value(number), partition=0,
                           on_delivery=lambda error, _: failed.append(error) if error else partition.positions.append(self.position()))
            if writer.flush(10) or failed:
                return

    def delete(self, life):
        if life.delete_sent is None:
            life.delete_sent = self.position()
        try:
            name = life.partition.topic
            self.admin.delete_topics([name], request_timeout=2)[name].result(30)
        except KafkaException as error:
            # Not there: its creation or an earlier deletion was never answered, and now it is.
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                return
        life.deleted = self.position()

    def delete_records(self, partition):
        before = len(partition.positions) * 3 // 4
        partition.delete_sent = max(partition.delete_sent, before)
        where = TopicPartition(partition.topic, partition.number, before)
        try:
            answer = self.admin.delete_records([where], request_timeout=2)[where].result(30)
        except KafkaException as error:
            # Retention was faster.
            if error.args[0].code() == KafkaError.OFFSET_OUT_OF_RANGE and not partition.retained:
                self.trouble.append(f"{partition}: records up to {before} cannot be deleted: {error}")
            return
        partition.deleted.append((self.position(), answer.low_watermark))

    def commit(self):
        """Commits of a group without members, as a simple consumer makes them."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": GROUP, "enable.auto.commit": False, **QUIET})
        while not self.stopping.wait(0.02) and not self.trouble:
            partition = self.random.choice(self.partitions)
            offset = len(partition.positions)
            # Down, or still loading: then nothing was promised.
            with contextlib.suppress(KafkaException):
                where = TopicPartition(partition.topic, partition.number, offset)
                (answer,) = consumer.commit(offsets=[where], asynchronous=False)
                if answer.error is None:
                    partition.committed.append((self.position(), offset))
        consumer.close()


class Checker:
    """Holds a broker against a ledger."""

    def __init__(self, bootstrap, ledger):
        self.ledger, self.wrong, self.records = ledger, [], 0
        self.consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": GROUP, "enable.auto.commit": False,
                                  "auto.offset.reset": "error", "message.max.bytes": 4 << 20, "check.crcs": True,
                                  "fetch.wait.max.ms": 20, "fetch.error.backoff.ms": 20, **QUIET})

    def check(self, cut, since=None, exact=False, doubtful=()):
        """What is wrong, as a list of sentences. `since`: the first record to read by partition, else all there are.
        `exact`: every answer is in, so nothing but what was promised may be there. `doubtful`: spans of positions in which
        no promise of a topic's creation or deletion counts."""
        self.doubtful = doubtful
        with self.ledger.changing:
            topics = self.consumer.list_topics(timeout=60).topics
            briefs = [self.check_name(name, name in topics, cut) for name in BRIEF]
            for partition in [*self.ledger.partitions, *filter(None, briefs)]:
                if partition.topic in topics:
                    # What was written to a brief topic without an answer may be there.
                    all_answered = exact and partition not in briefs
                    self.check_partition(partition, cut, (since or {}).get(partition, 0), all_answered)
                elif partition.promised_end(cut):
                    self.wrong.append(f"{partition}: its topic is gone")
            self.check_commits(cut)
        self.consumer.close()
        return self.wrong

    def check_name(self, name, there, cut):
        """The partition whose records must be there, if there is one."""
        life = next((life for life in reversed(self.ledger.lives[name]) if life.create_sent < cut), None)
        if life is None:
            if there:
                self.wrong.append(f"{name}: it is there before it was created")
            return None
        promised = self.counts(life.created, cut)
        asked = life.delete_sent is not None and life.delete_sent < cut
        if not there and promised and not asked:
            self.wrong.append(f"{name}: its creation was acknowledged, and it is gone")
        if there and self.counts(life.deleted, cut):
            self.wrong.append(f"{name}: its deletion was acknowledged, and it is there")
        return life.partition if there else None

    def counts(self, promise, cut):
        return promise is not None and promise <= cut and not any(begin <= promise <= end for begin, end in self.doubtful)

    def check_partition(self, partition, cut, since, exact):
        promised = partition.promised_end(cut)
        deleted = max(offset for position, offset in partition.deleted if position <= cut)
        where = TopicPartition(partition.topic, partition.number)
        start, end = self.consumer.get_watermark_offsets(where, timeout=60)
        if end < promised:
            self.wrong.append(f"{partition}: records up to {promised} were acknowledged, it ends at {end}")
        if end > partition.sent or exact and end != promised:
            self.wrong.append(f"{partition}: ends at {end}, {promised} were acknowledged, {partition.sent} sent")
        if start < deleted or start > max(deleted, partition.delete_sent) and not partition.retained:
            self.wrong.append(f"{partition}: starts at {start}, deleted up to {deleted}, asked for {partition.delete_sent}")
        self.read(partition, max(start, since), end)

    def read(self, partition, offset, end):
        self.consumer.assign([TopicPartition(partition.topic, partition.number, offset)])
        limit = time.monotonic() + 60
        while offset < end:
            for message in self.consumer.consume(500, 0.5):
                if message.error() or message.offset() != offset or message.value() != partition.value(offset):
                    if message.error() and partition.retained:
                        # Deleted by retention before it was read; all that is left is read in a later round.
                        return
                    what = message.error() or f"{message.offset()} with {message.value()[:16].hex()}, {len(message.value())} bytes"
                    self.wrong.append(f"{partition}: instead of {offset} there is {what}")
                    return
                offset += 1
                self.records += 1
                limit = time.monotonic() + 60
                if offset == end:
                    return
            if time.monotonic() > limit:
                self.wrong.append(f"{partition}: nothing comes at {offset} of {end}")
                return

    def check_commits(self, cut):
        wanted = {(partition.topic, partition.number): max(offset for position, offset in partition.committed if position <= cut)
                  for partition in self.ledger.partitions}
        asked = [TopicPartition(*key) for key, offset in wanted.items() if offset]
        for found in self.consumer.committed(asked, 60) if asked else []:
            want = wanted[found.topic, found.partition]
            if found.offset < want:
                self.wrong.append(f"{found.topic}-{found.partition}: offset {want} was committed, {found.offset} is there")
