//! Where our answer is not Kafka's, on purpose: each with its reason. Nothing else may differ.

use std::ops::RangeInclusive;

/// One text that differs, in the answers of some cases.
pub struct Deviation {
    /// The case as it stands in the record, or the beginning of several followed by `*`.
    pub case: &'static str,
    /// The versions of the API in which it shows.
    pub versions: RangeInclusive<i16>,
    /// What stands in Kafka's answer: a part of it that is unlike the rest.
    pub kafka: String,
    /// What stands there in ours.
    pub ours: String,
}

fn new(case: &'static str, versions: RangeInclusive<i16>, kafka: &str, ours: &str) -> Deviation {
    Deviation {
        case,
        versions,
        kafka: kafka.to_owned(),
        ours: ours.to_owned(),
    }
}

/// All of them. One that makes no difference any more fails the test.
pub fn all() -> Vec<Deviation> {
    let mut all = produce_messages();
    all.extend(produce());
    all.extend(fetch());
    all.extend(topics_and_groups());
    all.extend(configs());
    all.extend(not_served_yet());
    all
}

/// Kafka refuses most damaged batches with the bare code. Whoever writes a client wants to know what is wrong with them.
fn produce_messages() -> Vec<Deviation> {
    // The case, its code, whether the log's start is told, and our message.
    const MISSING: &str = "there must be one whole record batch per partition";
    const CORRUPT: &str = "record is corrupt (stored crc = 786429436, computed crc = 503475214)";
    let rows = [
        ("Produce: no records", "INVALID_RECORD", false, MISSING),
        (
            "Produce: two batches",
            "INVALID_RECORD",
            false,
            "there must be exactly one record batch per partition, found more behind 72 bytes",
        ),
        ("Produce: wrong CRC", "CORRUPT_MESSAGE", false, CORRUPT),
        (
            "Produce: good beside bad",
            "CORRUPT_MESSAGE",
            false,
            CORRUPT,
        ),
        (
            "Produce: magic 1",
            "INVALID_RECORD",
            false,
            "record batches must have magic version 2, found 1",
        ),
        ("Produce: cut short", "INVALID_RECORD", false, MISSING),
        (
            "Produce: less than a header",
            "INVALID_RECORD",
            false,
            MISSING,
        ),
        (
            "Produce: wrong count",
            "INVALID_RECORD",
            true,
            "record count 3 does not fit the last offset delta 1",
        ),
        (
            "Produce: wrong last offset",
            "INVALID_RECORD",
            true,
            "record count 2 does not fit the last offset delta 5",
        ),
        (
            "Produce: a base offset",
            "INVALID_RECORD",
            true,
            "the baseOffset of a produced record batch should be 0, but it is 5",
        ),
        (
            "Produce: too large",
            "MESSAGE_TOO_LARGE",
            false,
            "the record batch has 273 bytes, more than the maximum of 100",
        ),
        (
            "Produce: control batch",
            "INVALID_RECORD",
            true,
            "clients are not allowed to write control records",
        ),
        (
            "Produce: a producer id without sequence",
            "INVALID_RECORD",
            true,
            "invalid sequence number -1 in record batch with producerId 77",
        ),
    ];
    let deviation = |(case, code, told, message): (&'static str, &str, bool, &str)| {
        let start = if told { "" } else { "log_start_offset: -1, " };
        let before =
            format!("error_code: {code}, base_offset: -1, log_append_time_ms: -1, {start}");
        Deviation {
            case,
            versions: 8..=13,
            kafka: format!("{before}current_leader"),
            ours: format!("{before}error_message: \"{message}\", current_leader"),
        }
    };
    rows.into_iter().map(deviation).collect()
}

fn produce() -> Vec<Deviation> {
    const ID: &str = "topic_id: id-of";
    let leader = "current_leader: {leader_id: -1, leader_epoch: -1}}";
    let refused = |topic: &str, code: &str, start: &str, message: &str| {
        format!(
            "{{responses: [{{{ID}-{topic}, partition_responses: [{{error_code: {code}, base_offset: -1, \
             log_append_time_ms: -1, {start}error_message: \"{message}\", {leader}]}}]}}"
        )
    };
    let no_batch = "there must be one whole record batch per partition";
    vec![
        new(
            "Produce: magic 3",
            8..=13,
            "Invalid magic found in record: 3",
            "record batches must have magic version 2, found 3",
        ),
        // A NullPointerException there: the client waits until it gives up.
        new(
            "Produce: null records",
            13..=13,
            "(no answer)",
            &refused(
                "refusing",
                "INVALID_RECORD",
                "log_start_offset: -1, ",
                no_batch,
            ),
        ),
        // Kafka cuts off what is not a whole batch, unseen. No client sends it; one that does has lost count of its bytes.
        new(
            "Produce: bytes after the batch",
            13..=13,
            &format!(
                "{{responses: [{{{ID}-lenient, partition_responses: [{{log_append_time_ms: -1, {leader}]}}]}}"
            ),
            &refused(
                "lenient",
                "INVALID_RECORD",
                "log_start_offset: -1, ",
                "there must be exactly one record batch per partition, found more behind 72 bytes",
            ),
        ),
        // Kafka clears the bit. No client sets it; the timestamps would be taken for the broker's.
        new(
            "Produce: says LogAppendTime",
            13..=13,
            &format!(
                "{{responses: [{{{ID}-lenient, partition_responses: [{{base_offset: 1, log_append_time_ms: -1, {leader}]}}]}}"
            ),
            &refused(
                "lenient",
                "INVALID_TIMESTAMP",
                "",
                "invalid timestamp type in message: producers must not set the timestamp type to LogAppendTime",
            ),
        ),
        // Kafka goes through a map, and the first of the two batches is lost without a word. No client does it.
        new(
            "Produce: one partition twice",
            13..=13,
            &format!("{{index: 1, log_append_time_ms: -1, {leader}]"),
            &format!(
                "{{index: 1, log_append_time_ms: -1, {leader}, {{index: 1, base_offset: 1, log_append_time_ms: -1, {leader}]"
            ),
        ),
    ]
}

fn fetch() -> Vec<Deviation> {
    // Kafka sends as many bytes as fit, the last batch cut short, which the client throws away; here only whole batches
    // leave. The first comes whole on both sides.
    let whole = "<87 bytes, 47f663f94eec6913>";
    let first = "{high_watermark: 6, last_stable_offset: 6, diverging_epoch: {epoch: -1, end_offset: -1}, \
                 current_leader: {leader_id: -1, leader_epoch: -1}, snapshot_id: {end_offset: -1, epoch: -1}, \
                 preferred_read_replica: -1, records: Borrowed(<265 bytes, ce6857fc374f70c1>)}";
    let cut = |case, kafka| new(case, 4..=18, kafka, whole);
    vec![
        cut(
            "Fetch: 100 bytes in all, 1000 a partition",
            "<100 bytes, 0bf5db55b19707ab>",
        ),
        cut(
            "Fetch: 250 bytes in all, 160 a partition",
            "<160 bytes, 80a9288ade93724f>",
        ),
        cut(
            "Fetch: 250 bytes in all, 160 a partition",
            "<90 bytes, 2fff2dcd645009b1>",
        ),
        cut(
            "Fetch: 400 bytes in all, 1000 a partition",
            "<135 bytes, c46c5fdfd9c6c82c>",
        ),
        // Kafka goes through a map, so the first of the two is not answered. No client does it.
        new(
            "Fetch: one partition twice",
            13..=13,
            "partitions: [{high_watermark",
            &format!("partitions: [{first}, {{high_watermark"),
        ),
    ]
}

fn topics_and_groups() -> Vec<Deviation> {
    let unknown = "error_code: UNKNOWN_TOPIC_OR_PARTITION, name: \"auto-vN\", ";
    let partition = "leader_id: 1, replica_nodes: [1], isr_nodes: [1]";
    let created = |versions, kept: &str| {
        // Kafka has the topic made and lets the client ask again; here it is there when the answer leaves.
        new("Metadata: created on the way", versions, unknown, kept)
    };
    let before_epochs = "leader_id: 1, leader_epoch: -1, replica_nodes: [1], isr_nodes: [1]";
    let twice = "{error_code: INVALID_REQUEST, error_message: \"Each resource must appear at most once.\", \
                 resource_type: 2, resource_name: \"set\"}";
    // A refused first join leaves a group without members behind, until Kafka looks for expired offsets.
    let left = |versions, rest: &str| {
        new(
            "ListGroups: *",
            versions,
            &format!(", {{group_id: \"strange\"{rest}}}"),
            "",
        )
    };
    vec![
        created(
            0..=6,
            &format!("name: \"auto-vN\", partitions: [{{{before_epochs}}}], "),
        ),
        created(
            7..=9,
            &format!("name: \"auto-vN\", partitions: [{{{partition}}}], "),
        ),
        created(
            10..=13,
            &format!(
                "name: \"auto-vN\", topic_id: AQEBAQEBAQEBAQEBAQEBAQ, partitions: [{{{partition}}}], "
            ),
        ),
        left(0..=3, ""),
        left(4..=4, ", group_state: \"Empty\""),
        left(5..=5, ", group_state: \"Empty\", group_type: \"classic\""),
        // An exception there: the client waits until it gives up.
        new(
            "AlterConfigs: twice",
            2..=2,
            "(no answer)",
            &format!("{{responses: [{twice}, {twice}]}}"),
        ),
    ]
}

fn configs() -> Vec<Deviation> {
    vec![
        // Acknowledged means flushed (README): our default is 1.
        new(
            "DescribeConfigs: *",
            1..=4,
            "{name: \"flush.messages\", value: \"9223372036854775807\"",
            "{name: \"flush.messages\", value: \"1\"",
        ),
        new(
            "DescribeConfigs: *",
            1..=4,
            "{name: \"log.flush.interval.messages\", value: \"9223372036854775807\"",
            "{name: \"log.flush.interval.messages\", value: \"1\"",
        ),
        // Beside the user, not in a directory that the next reboot empties.
        new(
            "DescribeConfigs: all of a broker",
            4..=4,
            "{name: \"log.dir\", value: \"/tmp/kafka-logs\"",
            "{name: \"log.dir\", value: \"./millstream-data\"",
        ),
        // A broker starts without any file here, so node.id has a default.
        new(
            "DescribeConfigs: some of a broker",
            1..=4,
            "{name: \"node.id\", value: \"1\", source: 4}",
            "{name: \"node.id\", value: \"1\", source: 4}, {name: \"node.id\", value: \"1\", source: 5}",
        ),
        // Kafka's answer says nothing at all.
        new(
            "IncrementalAlterConfigs: an unknown operation",
            0..=1,
            "error_code: UNKNOWN_SERVER_ERROR, ",
            "error_code: INVALID_REQUEST, error_message: \"Unknown operation type 9.\", ",
        ),
        // Listeners are opened at start, and only then.
        new(
            "IncrementalAlterConfigs: per broker only, for all",
            0..=1,
            "Cannot update these configs at default cluster level, broker id must be specified: [listeners]",
            "Cannot update these configs dynamically: [listeners]",
        ),
    ]
}

/// Transactions and share groups: nothing that a client would try again for ever.
fn not_served_yet() -> Vec<Deviation> {
    let refused = "TRANSACTIONAL_ID_AUTHORIZATION_FAILED";
    let words = "Transactions are not served by this broker yet.";
    vec![
        new(
            "InitProducerId: a transactional id",
            0..=5,
            "NOT_COORDINATOR",
            refused,
        ),
        new(
            "Produce: transactional batch",
            3..=13,
            refused,
            "INVALID_TXN_STATE",
        ),
        new(
            "Produce: in a transaction",
            3..=13,
            "NOT_ENOUGH_REPLICAS",
            "INVALID_TXN_STATE",
        ),
        new(
            "Produce: in a transaction",
            8..=13,
            "error_message: \"Unable to verify the partition has been added to the transaction. Underlying error: \
             COORDINATOR_NOT_AVAILABLE\", ",
            "",
        ),
        new(
            "FindCoordinator: a transactional id",
            1..=3,
            "COORDINATOR_NOT_AVAILABLE, error_message: \"The coordinator is not available.\"",
            &format!("{refused}, error_message: \"{words}\""),
        ),
        new(
            "FindCoordinator: a transactional id",
            4..=6,
            "COORDINATOR_NOT_AVAILABLE, error_message: \"\"",
            &format!("{refused}, error_message: \"{words}\""),
        ),
        new(
            "FindCoordinator: a share partition",
            6..=6,
            "COORDINATOR_NOT_AVAILABLE",
            "INVALID_REQUEST",
        ),
    ]
}
