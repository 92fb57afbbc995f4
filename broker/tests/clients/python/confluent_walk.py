"""What a librdkafka application does, through confluent-kafka: confluent_walk.py BOOTSTRAP STEP [ARGUMENTS]."""
import os
import sys
import threading
import time
import uuid

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   OffsetSpec, ResourceType)

BOOTSTRAP = sys.argv[1]


def name(base):
    return f"{base}-{uuid.uuid4()}"


def until(what, condition):
    """Waits until a condition holds; the limit is far above what it takes."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"waited 60 s for: {what}"
        time.sleep(0.02)


# One for the whole program: a client that is dropped takes its unfinished requests along.
ADMIN = AdminClient({"bootstrap.servers": BOOTSTRAP})


def done(futures):
    return {key: future.result(60) for key, future in futures.items()}


def create(topic, partitions, **configs):
    done(ADMIN.create_topics([NewTopic(topic, partitions, 1, config=configs)]))


def producer(**options):
    return Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 5, **options})


def consumer(group=None, **options):
    return Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": group or name("group"), "auto.offset.reset": "earliest",
                     "enable.auto.commit": False, "session.timeout.ms": 10000, "heartbeat.interval.ms": 500,
                     **options})


def take(client, n, seconds=60):
    got, end = [], time.monotonic() + seconds
    while len(got) < n:
        assert time.monotonic() < end, f"{len(got)} of {n} records in {seconds} s"
        for message in client.consume(1000, 0.2):
            if message.error() is None:
                got.append(message)
    assert len(got) == n, f"{len(got)} records, {n} were sent"
    return got


def codecs():
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        topic = name(f"codec-{codec}")
        create(topic, 1)
        client = producer(**{"compression.type": codec})
        offsets = []
        sent = []
        for i in range(500):
            key = None if i % 3 == 0 else b"k%d" % i
            value = None if i % 7 == 0 else (b"value %d " % i) * (i % 40 + 1)
            sent.append((key, value))
            client.produce(topic, value, key, partition=0, headers=[("h", b"%d" % i)],
                           on_delivery=lambda error, message: offsets.append((error, message.offset())))
        assert client.flush(60) == 0
        assert offsets == [(None, i) for i in range(500)], codec
        reader = consumer()
        reader.assign([TopicPartition(topic, 0, 0)])
        for i, message in enumerate(take(reader, 500)):
            assert (message.offset(), message.key(), message.value()) == (i, *sent[i]), (codec, i)
            assert message.headers() == [("h", b"%d" % i)], (codec, i)
        assert reader.get_watermark_offsets(TopicPartition(topic, 0)) == (0, 500)
        assert reader.offsets_for_times([TopicPartition(topic, 0, 1)])[0].offset == 0
        reader.close()


def groups():
    topic, group = name("groups"), name("group")
    create(topic, 4)
    client = producer()

    def fill(first, last):
        for i in range(first, last):
            client.produce(topic, b"%d" % i, partition=i % 4)
        assert client.flush(60) == 0

    seen = set()

    def poll(*members):
        for member in members:
            seen.update(message.value() for message in member.consume(500, 0.05) if message.error() is None)

    fill(0, 200)
    first = consumer(group)
    first.subscribe([topic])
    until("all records at the first member", lambda: poll(first) or (len(seen) == 200 and len(first.assignment()) == 4))
    first.commit(asynchronous=False)
    second = consumer(group)
    second.subscribe([topic])
    until("two partitions for each",
          lambda: poll(first, second) or (len(first.assignment()) == 2 and len(second.assignment()) == 2))
    fill(200, 400)
    until("the new records", lambda: poll(first, second) or len(seen) == 400)
    for member in (first, second):
        member.commit(asynchronous=False)
    second.close()
    until("all partitions back at the first", lambda: poll(first) or len(first.assignment()) == 4)
    partitions = [TopicPartition(topic, p) for p in range(4)]
    assert sum(partition.offset for partition in first.committed(partitions, 30)) == 400
    described = ADMIN.describe_consumer_groups([group])[group].result(30)
    assert len(described.members) == 1, described
    first.close()
    static()
    done(ADMIN.delete_consumer_groups([group]))


def static():
    """A static member that comes back keeps its partitions; a second one of the same name fences the first."""
    topic, group = name("static"), name("group")
    create(topic, 2)
    first = consumer(group, **{"group.instance.id": "one"})
    first.subscribe([topic])
    until("both partitions", lambda: first.poll(0.05) or len(first.assignment()) == 2)
    fenced = []

    def poll_first():
        message = first.poll(0.05)
        if message is not None and message.error() is not None:
            fenced.append(message.error().code())

    second = consumer(group, **{"group.instance.id": "one"})
    second.subscribe([topic])

    def both():
        try:
            poll_first()
        except KafkaException as error:
            fenced.append(error.args[0].code())
        second.poll(0.05)
        return len(second.assignment()) == 2 and fenced

    until("the second takes over", both)
    assert fenced[0] in (KafkaError.FENCED_INSTANCE_ID, KafkaError._FATAL), fenced
    second.close()
    first.close()


def administer():
    client, topic = ADMIN, name("admin")
    create(topic, 2, **{"cleanup.policy": "compact"})
    assert topic in client.list_topics(timeout=30).topics
    for wrong, code in ((NewTopic(topic, 1, 1), KafkaError.TOPIC_ALREADY_EXISTS),
                        (NewTopic(name("rf"), 1, 3), KafkaError.INVALID_REPLICATION_FACTOR),
                        (NewTopic(name("bad"), 1, 1, config={"no.such.config": "1"}), KafkaError.INVALID_CONFIG)):
        try:
            done(client.create_topics([wrong]))
        except KafkaException as error:
            assert error.args[0].code() == code, error
            continue
        raise AssertionError(f"no error {code}")
    done(client.create_partitions([NewPartitions(topic, 5)]))
    until("five partitions", lambda: len(client.list_topics(topic, timeout=30).topics[topic].partitions) == 5)
    resource = ConfigResource(ResourceType.TOPIC, topic)

    def config(key):
        (answer,) = done(client.describe_configs([resource])).values()
        return answer[key].value

    assert config("cleanup.policy") == "compact"
    change = [ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.APPEND),
              ConfigEntry("retention.ms", "5000", incremental_operation=AlterConfigOpType.SET)]
    done(client.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=change)]))
    until("the new values", lambda: (config("cleanup.policy"), config("retention.ms")) == ("compact,delete", "5000"))
    plain = name("records")
    create(plain, 1)
    writer = producer()
    for i in range(100):
        writer.produce(plain, b"%d" % i)
    assert writer.flush(60) == 0
    (deleted,) = done(client.delete_records([TopicPartition(plain, 0, 40)])).values()
    assert deleted.low_watermark == 40
    (latest,) = done(client.list_offsets({TopicPartition(plain, 0): OffsetSpec.latest()})).values()
    (newest,) = done(client.list_offsets({TopicPartition(plain, 0): OffsetSpec.max_timestamp()})).values()
    # Kafka names a record of the batch that holds the newest timestamp, even one before the log's start.
    assert latest.offset == 100 and 0 <= newest.offset < 100, (latest.offset, newest.offset)
    assert len(client.describe_cluster().result(30).nodes) == 1
    done(client.delete_topics([topic]))
    until("the topic is gone", lambda: topic not in client.list_topics(timeout=30).topics)


def idempotent():
    topic = name("idempotent")
    create(topic, 1)
    client = producer(**{"enable.idempotence": True, "batch.num.messages": 20})
    for i in range(10000):
        client.produce(topic, b"%d" % i, partition=0)
        client.poll(0)
    assert client.flush(60) == 0
    reader = consumer()
    reader.assign([TopicPartition(topic, 0, 0)])
    assert [message.value() for message in take(reader, 10000)] == [b"%d" % i for i in range(10000)]
    reader.close()


def endure(stop_file):
    """Produces (idempotent) and consumes with commits while somebody kills the broker, until `stop_file` exists; then holds
    everything that was acknowledged against what is there."""
    topic, group, partitions = name("endure"), name("group"), 3
    create(topic, partitions)
    print("ready", flush=True)
    patient = {"message.timeout.ms": 120000, "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 20, "retry.backoff.max.ms": 200}
    client = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 1, "enable.idempotence": True, "log_level": 0, **patient})
    acked, failed = [], []

    def delivered(error, message):
        if error is None:
            acked.append((message.partition(), message.offset(), message.value()))
        else:
            failed.append(str(error))

    commits, trouble, stop = {}, [], threading.Event()

    def commit():
        # log_level: an unreachable broker is what this is about.
        reader = consumer(group, **{"log_level": 0, "reconnect.backoff.max.ms": 200})
        reader.subscribe([topic])
        while not stop.is_set():
            try:
                if not reader.consume(200, 0.05):
                    continue
                for partition in reader.commit(asynchronous=False) or []:
                    if partition.error is None:
                        commits[partition.partition] = max(commits.get(partition.partition, 0), partition.offset)
            except KafkaException as error:
                # The broker is down, or the group is loading or rebalancing after a kill; anything else is wrong.
                if error.args[0].fatal():
                    trouble.append(str(error))
                    return
        reader.close()

    # A daemon: a thread that hangs is found by its join and must not keep the program from saying so.
    thread = threading.Thread(target=commit, daemon=True)
    thread.start()
    number = 0
    while not os.path.exists(stop_file):
        try:
            client.produce(topic, b"%d" % number, partition=number % partitions, on_delivery=delivered)
            number += 1
        except BufferError:
            client.poll(0.05)
        client.poll(0)
        if number % 50 == 0:
            time.sleep(0.002)
    left = client.flush(120)
    stop.set()
    thread.join(60)
    assert left == 0 and not failed and not trouble, (left, failed[:3], trouble)
    assert not thread.is_alive() and commits, "nothing was committed"
    assert len(acked) == number, (len(acked), number)

    reader = consumer()
    reader.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    there = {(message.partition(), message.offset()): message.value() for message in take(reader, number, 120)}
    reader.close()
    lost = [record for record in acked if there.get(record[:2]) != record[2]]
    assert not lost, f"{len(lost)} acknowledged records are lost or elsewhere, the first ones: {lost[:5]}"
    for partition in range(partitions):
        values = [int(there[key]) for key in sorted(key for key in there if key[0] == partition)]
        assert values == list(range(partition, number, partitions)), f"partition {partition}: out of order, doubled or missing"
    late = consumer(group)
    for found in late.committed([TopicPartition(topic, partition) for partition in range(partitions)], 60):
        wanted = commits.get(found.partition, 0)
        assert found.offset >= wanted or wanted == 0, f"partition {found.partition}: {wanted} was committed, {found.offset} is there"
    late.close()
    print(f"{number} records, {sum(commits.values())} committed")


def clocks(shift_file):
    """Sets the broker's clock to and fro (milliseconds in a file that it looks into): no member is lost, no offset, no record."""
    topic, group, idle = name("clocks"), name("group"), name("idle")
    # Records carry this process's time, which the broker may take for the far future.
    create(topic, 1, **{"message.timestamp.after.max.ms": str(2**63 - 1)})
    stamped, stamps = name("stamped"), []
    create(stamped, 1, **{"message.timestamp.type": "LogAppendTime"})
    writer, number = producer(**{"enable.idempotence": True}), 0
    events = []
    member = consumer(group, **{"session.timeout.ms": 6000, "heartbeat.interval.ms": 500})
    member.subscribe([topic], on_assign=lambda *_: events.append("assigned"), on_revoke=lambda *_: events.append("revoked"),
                     on_lost=lambda *_: events.append("lost"))
    until("an assignment", lambda: member.poll(0.05) is None and events)
    # Of a group without members: what expires by age.
    simple = consumer(idle)
    simple.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    hour, year_2100, now = 3_600_000, 4_102_444_800_000, int(time.time() * 1000)
    for shift in (hour, 24 * hour, year_2100 - now, 0, -now, 0, -hour, -24 * hour, 0):
        with open(shift_file, "r+b") as file:
            file.write(shift.to_bytes(8, "little", signed=True))
        # Several turns of every periodic look that a broker takes.
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            writer.produce(topic, b"%d" % number, partition=0)
            number += 1
            assert writer.flush(60) == 0
            member.poll(0.02)
        writer.produce(stamped, b"", partition=0, on_delivery=lambda _, message: stamps.append(message.timestamp()[1]))
        assert writer.flush(60) == 0
        assert abs(stamps[-1] - time.time() * 1000 - shift) < 60_000, f"the clock was not moved by {shift} ms: {stamps[-1]}"
        low, high = member.get_watermark_offsets(TopicPartition(topic, 0), timeout=60)
        assert (low, high) == (0, number), f"clock off by {shift} ms: records {low} to {high} of {number}"
        (found,) = simple.committed([TopicPartition(topic, 0)], 60)
        assert found.offset == 1, f"clock off by {shift} ms: the idle group's offset is {found.offset}"
        member.commit(offsets=[TopicPartition(topic, 0, number)], asynchronous=False)
        assert events == ["assigned"], f"clock off by {shift} ms: {events}"
    member.close()
    simple.close()
    reader = consumer()
    reader.assign([TopicPartition(topic, 0, 0)])
    assert [message.value() for message in take(reader, number)] == [b"%d" % i for i in range(number)]
    reader.close()


if __name__ == "__main__":
    {"codecs": codecs, "groups": groups, "admin": administer, "idempotent": idempotent, "endure": endure, "clocks": clocks}[sys.argv[2]](*sys.argv[3:])
    print("ok", sys.argv[2])
