import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.*;

/** What a Java application does. Written against what the clients from 2.1 to 4.3 have in common. */
public class Walk {
  static String bootstrap;

  public static void main(String[] args) throws Exception {
    bootstrap = args[0];
    switch (args[1]) {
      case "codecs": codecs(); break;
      case "groups": groups(); break;
      case "admin": admin(); break;
      case "idempotent": idempotent(); break;
      case "endure": endure(java.nio.file.Paths.get(args[2])); break;
      default: throw new IllegalArgumentException(args[1]);
    }
    System.out.println("ok " + args[1]);
  }

  /** Each codec: batches of several records, keys, nulls and headers come back as they were sent, at their offsets. */
  static void codecs() throws Exception {
    for (String codec : new String[] {"none", "gzip", "snappy", "lz4", "zstd"}) {
      String topic = name("codec-" + codec);
      create(topic, 1);
      int n = 500;
      try (KafkaProducer<String, String> producer = producer("compression.type", codec, "linger.ms", "20", "batch.size", "65536")) {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int i = 0; i < n; i++) {
          ProducerRecord<String, String> record = new ProducerRecord<>(topic, 0, i % 3 == 0 ? null : "k" + i, i % 7 == 0 ? null : value(i));
          record.headers().add("h", ("" + i).getBytes(StandardCharsets.UTF_8)).add("empty", null);
          sent.add(producer.send(record));
        }
        for (int i = 0; i < n; i++) check(sent.get(i).get().offset() == i, codec + ": offset of record " + i);
      }
      try (KafkaConsumer<String, String> consumer = consumer("group.id", name("g"))) {
        TopicPartition partition = new TopicPartition(topic, 0);
        consumer.assign(Collections.singleton(partition));
        consumer.seekToBeginning(Collections.singleton(partition));
        List<ConsumerRecord<String, String>> got = read(consumer, n);
        for (int i = 0; i < n; i++) {
          ConsumerRecord<String, String> record = got.get(i);
          check(record.offset() == i, codec + ": record " + i + " has offset " + record.offset());
          check(Objects.equals(record.key(), i % 3 == 0 ? null : "k" + i), codec + ": key of " + i);
          check(Objects.equals(record.value(), i % 7 == 0 ? null : value(i)), codec + ": value of " + i);
          Header header = record.headers().lastHeader("h");
          check(new String(header.value(), StandardCharsets.UTF_8).equals("" + i), codec + ": header of " + i);
          check(record.headers().lastHeader("empty").value() == null, codec + ": null header of " + i);
        }
        // by time: the first record at or after its own timestamp
        OffsetAndTimestamp found = consumer.offsetsForTimes(Collections.singletonMap(partition, got.get(0).timestamp())).get(partition);
        check(found != null && found.offset() == 0, codec + ": by time " + found);
        check(consumer.endOffsets(Collections.singleton(partition)).get(partition) == n, codec + ": end offset");
        check(consumer.beginningOffsets(Collections.singleton(partition)).get(partition) == 0, codec + ": start offset");
      }
    }
  }

  /** Two members share four partitions, one leaves, the other takes over; offsets are committed and resumed. */
  static void groups() throws Exception {
    String topic = name("groups"), group = name("group");
    create(topic, 4);
    fill(topic, 4, 0, 200);
    try (KafkaConsumer<String, String> first = consumer("group.id", group)) {
      first.subscribe(Collections.singleton(topic));
      Set<String> seen = new HashSet<>();
      until("all partitions at the first member", () -> { poll(first, seen); return first.assignment().size() == 4 && seen.size() == 200; });
      first.commitSync();
      KafkaConsumer<String, String> second = consumer("group.id", group);
      second.subscribe(Collections.singleton(topic));
      until("two partitions for each", () -> {
        poll(first, seen);
        poll(second, seen);
        return first.assignment().size() == 2 && second.assignment().size() == 2;
      });
      fill(topic, 4, 200, 400);
      until("the new records at both", () -> { poll(first, seen); poll(second, seen); return seen.size() == 400; });
      first.commitSync();
      second.commitSync();
      second.close();
      until("all partitions back at the first", () -> { poll(first, seen); return first.assignment().size() == 4; });
      try (AdminClient admin = admin0()) {
        ConsumerGroupDescription described = admin.describeConsumerGroups(Collections.singleton(group)).all().get().get(group);
        check(described.members().size() == 1, "one member is described: " + described);
      }
    }
    try (AdminClient admin = admin0()) {
      long committed = 0;
      for (OffsetAndMetadata offset : admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().values()) committed += offset.offset();
      check(committed == 400, "committed " + committed);
      boolean listed = false;
      for (ConsumerGroupListing listing : admin.listConsumerGroups().all().get()) listed |= listing.groupId().equals(group);
      check(listed, "the group is listed");
    }
    fill(topic, 4, 400, 410);
    try (KafkaConsumer<String, String> later = consumer("group.id", group)) {
      later.subscribe(Collections.singleton(topic));
      Set<String> seen = new HashSet<>();
      until("only what was not committed", () -> { poll(later, seen); return seen.size() == 10; });
      later.commitSync();
    }
    try (AdminClient admin = admin0()) {
      until("the group is empty", () -> {
        try {
          admin.deleteConsumerGroups(Collections.singleton(group)).all().get();
          return true;
        } catch (ExecutionException error) {
          if (error.getCause() instanceof GroupNotEmptyException) return false;
          throw error;
        }
      });
    }
  }

  static void admin() throws Exception {
    String topic = name("admin");
    try (AdminClient admin = admin0()) {
      check(admin.describeCluster().nodes().get().size() == 1, "one node");
      Map<String, String> configs = new HashMap<>();
      configs.put("cleanup.policy", "compact");
      configs.put("segment.bytes", "2097152");
      admin.createTopics(Collections.singleton(new NewTopic(topic, 2, (short) 1).configs(configs))).all().get();
      check(admin.listTopics().names().get().contains(topic), "the topic is listed");
      fails(TopicExistsException.class, () -> admin.createTopics(Collections.singleton(new NewTopic(topic, 2, (short) 1))).all().get());
      fails(InvalidReplicationFactorException.class, () -> admin.createTopics(Collections.singleton(new NewTopic(name("rf"), 1, (short) 3))).all().get());
      NewTopic unknown = new NewTopic(name("bad"), 1, (short) 1).configs(Collections.singletonMap("no.such.config", "1"));
      fails(InvalidConfigurationException.class, () -> admin.createTopics(Collections.singleton(unknown)).all().get());
      fails(InvalidTopicException.class, () -> admin.createTopics(Collections.singleton(new NewTopic("no/slash", 1, (short) 1))).all().get());
      ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
      Config config = admin.describeConfigs(Collections.singleton(resource)).all().get().get(resource);
      check(config.get("cleanup.policy").value().equals("compact"), "cleanup.policy is shown");
      check(config.get("cleanup.policy").source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, "and its source");
      check(config.get("retention.ms").isDefault(), "retention.ms is a default");
      admin.createPartitions(Collections.singletonMap(topic, NewPartitions.increaseTo(5))).all().get();
      fails(InvalidPartitionsException.class, () -> admin.createPartitions(Collections.singletonMap(topic, NewPartitions.increaseTo(3))).all().get());
      String plain = name("records");
      create(plain, 1);
      fill(plain, 1, 0, 100);
      TopicPartition partition = new TopicPartition(plain, 0);
      long low = admin.deleteRecords(Collections.singletonMap(partition, RecordsToDelete.beforeOffset(40))).lowWatermarks().get(partition).get().lowWatermark();
      check(low == 40, "records are deleted before 40, not " + low);
      try (KafkaConsumer<String, String> consumer = consumer("group.id", name("g"))) {
        check(consumer.partitionsFor(topic).size() == 5, "five partitions");
        check(consumer.beginningOffsets(Collections.singleton(partition)).get(partition) == 40, "starts at 40");
      }
      admin.deleteTopics(Collections.singleton(topic)).all().get();
      until("the topic is gone", () -> !admin.listTopics().names().get().contains(topic));
      fails(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(Collections.singleton(topic)).all().get());
    }
  }

  /** Idempotent, five requests in flight: every record once and in order, in small and large batches. */
  static void idempotent() throws Exception {
    String topic = name("idempotent");
    create(topic, 1);
    int n = 5000;
    try (KafkaProducer<String, String> producer =
        producer("enable.idempotence", "true", "acks", "all", "max.in.flight.requests.per.connection", "5", "batch.size", "2000")) {
      List<Future<RecordMetadata>> sent = new ArrayList<>();
      for (int i = 0; i < n; i++) sent.add(producer.send(new ProducerRecord<>(topic, 0, null, "" + i)));
      for (int i = 0; i < n; i++) check(sent.get(i).get().offset() == i, "offset of " + i);
    }
    try (KafkaConsumer<String, String> consumer = consumer("group.id", name("g"), "isolation.level", "read_committed")) {
      consumer.assign(Collections.singleton(new TopicPartition(topic, 0)));
      consumer.seekToBeginning(consumer.assignment());
      List<ConsumerRecord<String, String>> got = read(consumer, n);
      for (int i = 0; i < n; i++) check(got.get(i).value().equals("" + i), "record " + i);
    }
  }

  /** Idempotent, five in flight, and a group that commits, while somebody kills the broker, until a file exists; then everything is held against what is there. */
  static void endure(java.nio.file.Path stop) throws Exception {
    String topic = name("endure-java"), group = name("group");
    int partitions = 3;
    create(topic, partitions);
    System.out.println("ready");
    Map<TopicPartition, Long> commits = new ConcurrentHashMap<>();
    Thread reader = new Thread(() -> commit(topic, group, commits, stop));
    reader.start();
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    try (KafkaProducer<String, String> producer = producer("enable.idempotence", "true", "acks", "all", "linger.ms", "1",
        "max.in.flight.requests.per.connection", "5", "delivery.timeout.ms", "120000", "request.timeout.ms", "10000",
        "retry.backoff.ms", "20", "reconnect.backoff.max.ms", "200", "max.block.ms", "120000")) {
      for (int i = 0; !java.nio.file.Files.exists(stop); i++) {
        sent.add(producer.send(new ProducerRecord<>(topic, i % partitions, null, "" + i)));
        if (i % 20 == 0) Thread.sleep(5);
      }
      for (int i = 0; i < sent.size(); i++) {
        long offset = sent.get(i).get().offset();
        check(offset == i / partitions, "record " + i + " was acknowledged at offset " + offset);
      }
    }
    reader.join();
    check(!commits.isEmpty(), "nothing was committed");
    try (KafkaConsumer<String, String> consumer = consumer("group.id", group)) {
      for (int partition = 0; partition < partitions; partition++) {
        TopicPartition one = new TopicPartition(topic, partition);
        consumer.assign(Collections.singleton(one));
        // Nothing was read yet: where it begins is what was committed, or the beginning.
        long found = consumer.position(one);
        consumer.seekToBeginning(consumer.assignment());
        List<ConsumerRecord<String, String>> got = read(consumer, (sent.size() - partition + partitions - 1) / partitions);
        for (int i = 0; i < got.size(); i++) check(got.get(i).value().equals("" + (partition + i * partitions)), one + ": record " + i + " is " + got.get(i).value());
        long wanted = commits.getOrDefault(one, 0L);
        check(found >= wanted, one + ": " + wanted + " was committed, " + found + " is there");
      }
    }
    System.out.println(sent.size() + " records, " + commits.values().stream().mapToLong(Long::longValue).sum() + " committed");
  }

  /** The broker is down, or the group loads or rebalances after a kill: whatever it is, the commit was not acknowledged. */
  static void commit(String topic, String group, Map<TopicPartition, Long> commits, java.nio.file.Path stop) {
    try (KafkaConsumer<String, String> consumer = consumer("group.id", group, "default.api.timeout.ms", "5000", "reconnect.backoff.max.ms", "200")) {
      consumer.subscribe(Collections.singleton(topic));
      while (!java.nio.file.Files.exists(stop)) {
        try {
          if (consumer.poll(Duration.ofMillis(50)).isEmpty()) continue;
          Map<TopicPartition, OffsetAndMetadata> done = new HashMap<>();
          for (TopicPartition partition : consumer.assignment()) done.put(partition, new OffsetAndMetadata(consumer.position(partition)));
          consumer.commitSync(done);
          done.forEach((partition, offset) -> commits.merge(partition, offset.offset(), Math::max));
        } catch (KafkaException error) {
          continue;
        }
      }
    }
  }

  // ---- helpers ----

  interface Step { Object run() throws Exception; }

  static String name(String base) { return base + "-" + UUID.randomUUID(); }

  static String value(int i) { return "value " + i + " " + String.join("", Collections.nCopies(i % 50, "abcdefgh")); }

  static void check(boolean good, String what) { if (!good) throw new AssertionError(what); }

  static void fails(Class<?> cause, Step step) throws Exception {
    try {
      step.run();
    } catch (ExecutionException error) {
      check(cause.isInstance(error.getCause()), "wanted " + cause.getSimpleName() + ", got " + error.getCause());
      return;
    }
    throw new AssertionError("wanted " + cause.getSimpleName());
  }

  static void until(String what, Step step) throws Exception {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
    while (!Boolean.TRUE.equals(step.run())) {
      check(System.nanoTime() < end, "waited 60 s for: " + what);
      Thread.sleep(20);
    }
  }

  static Properties properties(String... pairs) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    for (int i = 0; i < pairs.length; i += 2) properties.put(pairs[i], pairs[i + 1]);
    return properties;
  }

  static AdminClient admin0() { return AdminClient.create(properties()); }

  static KafkaProducer<String, String> producer(String... pairs) {
    return new KafkaProducer<>(properties(pairs), new StringSerializer(), new StringSerializer());
  }

  static KafkaConsumer<String, String> consumer(String... pairs) {
    Properties properties = properties(pairs);
    properties.put("auto.offset.reset", "earliest");
    properties.put("enable.auto.commit", "false");
    properties.put("session.timeout.ms", "10000");
    properties.put("heartbeat.interval.ms", "500");
    return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
  }

  static void create(String topic, int partitions) throws Exception {
    try (AdminClient admin = admin0()) {
      admin.createTopics(Collections.singleton(new NewTopic(topic, partitions, (short) 1))).all().get();
    }
  }

  static void fill(String topic, int partitions, int from, int to) throws Exception {
    try (KafkaProducer<String, String> producer = producer("acks", "all")) {
      for (int i = from; i < to; i++) producer.send(new ProducerRecord<>(topic, i % partitions, null, "" + i)).get();
    }
  }

  static void poll(KafkaConsumer<String, String> consumer, Set<String> seen) {
    for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) seen.add(record.value());
  }

  static List<ConsumerRecord<String, String>> read(KafkaConsumer<String, String> consumer, int n) throws Exception {
    List<ConsumerRecord<String, String>> got = new ArrayList<>();
    until(n + " records", () -> {
      for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) got.add(record);
      return got.size() >= n;
    });
    check(got.size() == n, "more records than were sent: " + got.size());
    return got;
  }
}
