"""What a kafka-python application does: kafka_python_walk.py BOOTSTRAP STEP."""
import sys
import time
import uuid

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic
from kafka.errors import InvalidReplicationFactorError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

BOOTSTRAP = sys.argv[1]


def name(base):
    return f"{base}-{uuid.uuid4()}"


def until(what, condition):
    """Waits until a condition holds; the limit is far above what it takes."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"waited 60 s for: {what}"
        time.sleep(0.02)


def admin():
    return KafkaAdminClient(bootstrap_servers=BOOTSTRAP)


def create(topic, partitions):
    client = admin()
    client.create_topics([NewTopic(topic, partitions, 1)])
    client.close()


def consumer(*topics, **options):
    return KafkaConsumer(*topics, bootstrap_servers=BOOTSTRAP, auto_offset_reset="earliest", enable_auto_commit=False,
                         session_timeout_ms=10000, heartbeat_interval_ms=500, **options)


def take(client, n):
    got = []

    def more():
        for records in client.poll(timeout_ms=200).values():
            got.extend(records)
        return len(got) >= n

    until(f"{n} records", more)
    assert len(got) == n, len(got)
    return got


def codecs():
    for codec in (None, "gzip", "snappy", "lz4", "zstd"):
        topic = name(f"codec-{codec}")
        create(topic, 1)
        producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, compression_type=codec, linger_ms=20, acks="all")
        sent = []
        for i in range(300):
            key = None if i % 3 == 0 else b"k%d" % i
            value = None if i % 7 == 1 and key else (b"value %d " % i) * (i % 40 + 1)
            future = producer.send(topic, key=key, value=value, headers=[("h", b"%d" % i)])
            sent.append((future, key, value))
        producer.flush()
        reader = consumer()
        partition = TopicPartition(topic, 0)
        reader.assign([partition])
        for i, (record, (future, key, value)) in enumerate(zip(take(reader, 300), sent)):
            assert future.get(30).offset == record.offset == i, (codec, i)
            assert (record.key, record.value, record.headers) == (key, value, [("h", b"%d" % i)]), (codec, i)
        assert reader.end_offsets([partition])[partition] == 300
        assert reader.offsets_for_times({partition: 0})[partition].offset == 0
        reader.close()
        producer.close()


def groups():
    topic, group = name("groups"), name("group")
    create(topic, 4)
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all")

    def fill(first, last):
        for i in range(first, last):
            producer.send(topic, b"%d" % i, partition=i % 4)
        producer.flush()

    seen = set()

    def poll(client):
        for records in client.poll(timeout_ms=100).values():
            seen.update(record.value for record in records)

    fill(0, 200)
    first = consumer(topic, group_id=group)
    until("all records at the first member", lambda: poll(first) or (len(seen) == 200 and len(first.assignment()) == 4))
    first.commit()
    second = consumer(topic, group_id=group)
    until("two partitions for each",
          lambda: poll(first) or poll(second) or (len(first.assignment()) == 2 and len(second.assignment()) == 2))
    fill(200, 400)
    until("the new records", lambda: poll(first) or poll(second) or len(seen) == 400)
    first.commit()
    second.commit()
    second.close()
    until("all partitions back at the first", lambda: poll(first) or len(first.assignment()) == 4)
    committed = sum(first.committed(TopicPartition(topic, p)) for p in range(4))
    assert committed == 400, committed
    first.close()
    client = admin()
    assert sum(offset.offset for offset in client.list_consumer_group_offsets(group).values()) == 400
    assert group in [listed[0] for listed in client.list_consumer_groups()]
    client.delete_consumer_groups([group])
    client.close()
    producer.close()


def administer():
    topic = name("admin")
    client = admin()
    client.create_topics([NewTopic(topic, 2, 1, topic_configs={"cleanup.policy": "compact"})])
    assert topic in client.list_topics()
    for wrong, error in ((NewTopic(topic, 1, 1), TopicAlreadyExistsError), (NewTopic(name("rf"), 1, 3), InvalidReplicationFactorError)):
        try:
            client.create_topics([wrong])
        except error:
            continue
        raise AssertionError(f"no {error}")
    client.create_partitions({topic: NewPartitions(3)})
    until("three partitions", lambda: len(client.describe_topics([topic])[0]["partitions"]) == 3)
    described = client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    # A list of answers, or one: it has changed between releases.
    answers = described if isinstance(described, list) else [described]
    assert "compact" in str(answers[0])
    client.delete_topics([topic])
    until("the topic is gone", lambda: topic not in client.list_topics())
    try:
        client.delete_topics([topic])
    except UnknownTopicOrPartitionError:
        pass
    else:
        raise AssertionError("no UnknownTopicOrPartitionError")
    client.close()


def idempotent():
    topic = name("idempotent")
    create(topic, 1)
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, enable_idempotence=True, acks="all", batch_size=1000)
    futures = [producer.send(topic, b"%d" % i) for i in range(2000)]
    producer.flush()
    assert [future.get(30).offset for future in futures] == list(range(2000))
    reader = consumer()
    reader.assign([TopicPartition(topic, 0)])
    assert [record.value for record in take(reader, 2000)] == [b"%d" % i for i in range(2000)]
    reader.close()
    producer.close()


if __name__ == "__main__":
    {"codecs": codecs, "groups": groups, "admin": administer, "idempotent": idempotent}[sys.argv[2]]()
    print("ok", sys.argv[2])
