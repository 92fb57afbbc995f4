//! Names in a data directory: partition directories, their files, and the suffixes that mark them for something.

use std::fmt;

/// File and directory names are at most this long (NAME_MAX).
const NAME_BYTES_MAX: usize = 255;
/// Kafka's limit for a topic: the name of its directory, marked for removal, must fit.
const TOPIC_BYTES_MAX: usize = 249;
/// The metadata log of a KRaft node lives beside the partitions, in a directory that looks like one.
const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Files of a segment, told apart by their suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// Record batches, nothing else.
    Log,
    /// Offset → position.
    Index,
    /// Timestamp → offset.
    TimeIndex,
    /// Aborted transactions.
    TxnIndex,
    /// Producer state; the stem is the offset it covers up to, exclusive.
    Snapshot,
}

impl FileKind {
    /// Every kind.
    pub const ALL: [FileKind; 5] = [
        FileKind::Log,
        FileKind::Index,
        FileKind::TimeIndex,
        FileKind::TxnIndex,
        FileKind::Snapshot,
    ];

    /// The suffix with its dot.
    pub fn suffix(self) -> &'static str {
        match self {
            FileKind::Log => ".log",
            FileKind::Index => ".index",
            FileKind::TimeIndex => ".timeindex",
            FileKind::TxnIndex => ".txnindex",
            FileKind::Snapshot => ".snapshot",
        }
    }
}

/// The name of a segment's file: 20 digits and a suffix.
pub fn file_name(offset: i64, kind: FileKind) -> String {
    assert!(offset >= 0, "file name for offset {offset}");
    format!("{offset:020}{}", kind.suffix())
}

/// Reads such a name; anything else, temporary suffixes included, is None.
pub fn parse_file_name(name: &str) -> Option<(i64, FileKind)> {
    let (stem, suffix) = name.split_at_checked(20)?;
    let kind = FileKind::ALL.into_iter().find(|k| k.suffix() == suffix)?;
    Some((parse_stem(stem)?, kind))
}

/// Twenty digits, no sign.
pub(crate) fn parse_stem(stem: &str) -> Option<i64> {
    let digits = stem.len() == 20 && stem.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| stem.parse().ok())?
}

/// A partition, by name. Its `Display` is the name of its directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionName {
    /// The topic's name.
    pub topic: String,
    /// The partition's number, never negative.
    pub partition: i32,
}

impl PartitionName {
    /// Splits a directory name at its last dash. None if what is there is no topic and partition.
    pub fn parse(name: &str) -> Option<PartitionName> {
        let (topic, number) = name.rsplit_once('-')?;
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let topic_fits = (1..=TOPIC_BYTES_MAX).contains(&topic.len())
            && topic.bytes().all(legal)
            && topic != "."
            && topic != "..";
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        // "00" would be a second directory for partition 0.
        let canonical = number.len() == 1 || !number.starts_with('0');
        if !topic_fits || !digits || !canonical {
            return None;
        }
        Some(PartitionName {
            topic: topic.to_owned(),
            partition: number.parse().ok()?,
        })
    }
}

impl fmt::Display for PartitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What a partition directory is renamed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Waiting for removal.
    Delete,
    /// Found at start and assigned to nobody here.
    Stray,
    /// On its way here from another data directory.
    Future,
}

impl Mark {
    fn suffix(self) -> &'static str {
        match self {
            Mark::Delete => "-delete",
            Mark::Stray => "-stray",
            Mark::Future => "-future",
        }
    }
}

/// `<topic>-<partition>.<32 hex digits>-<mark>`. The topic is cut where the name would be longer than 255 bytes,
/// except for `Future`, whose name must be read again (Kafka's `LocalLog.logDirNameWithSuffixCappedLength`).
pub fn marked_name(name: &PartitionName, unique: [u8; 16], mark: Mark) -> String {
    let hex: String = unique.iter().map(|byte| format!("{byte:02x}")).collect();
    let suffix = format!("-{}.{hex}{}", name.partition, mark.suffix());
    let room = match mark {
        Mark::Delete | Mark::Stray => NAME_BYTES_MAX - suffix.len(),
        Mark::Future => name.topic.len(),
    };
    // Topics are ASCII, but this must hold for whatever it is given.
    let cut = (0..=room.min(name.topic.len())).rev();
    let end = cut.into_iter().find(|&i| name.topic.is_char_boundary(i));
    format!("{}{suffix}", &name.topic[..end.unwrap_or(0)])
}

/// What a directory inside a data directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirEntryKind {
    /// A partition.
    Partition(PartitionName),
    /// Waiting for removal; its topic may be cut.
    Delete,
    /// Was assigned to nobody; kept until someone looks.
    Stray,
    /// Being moved here.
    Future(PartitionName),
    /// Kafka's metadata log: not ours to touch.
    ClusterMetadata,
    /// Nothing of Kafka's or ours.
    Other,
}

/// Says what the directory of this name is.
pub fn classify(name: &str) -> DirEntryKind {
    for mark in [Mark::Delete, Mark::Stray, Mark::Future] {
        let Some((front, hex)) = name
            .strip_suffix(mark.suffix())
            .and_then(|rest| rest.rsplit_once('.'))
        else {
            continue;
        };
        if hex.len() != 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            continue;
        }
        return match (mark, PartitionName::parse(front)) {
            (Mark::Delete, _) => DirEntryKind::Delete,
            (Mark::Stray, _) => DirEntryKind::Stray,
            (Mark::Future, Some(partition)) => DirEntryKind::Future(partition),
            (Mark::Future, None) => DirEntryKind::Other,
        };
    }
    match PartitionName::parse(name) {
        Some(partition) if partition.topic == CLUSTER_METADATA => DirEntryKind::ClusterMetadata,
        Some(partition) => DirEntryKind::Partition(partition),
        None => DirEntryKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn partition(topic: &str, partition: i32) -> PartitionName {
        PartitionName {
            topic: topic.to_owned(),
            partition,
        }
    }

    #[test]
    fn files_have_twenty_digits() {
        assert_eq!(
            file_name(42, FileKind::TimeIndex),
            "00000000000000000042.timeindex"
        );
        assert_eq!(
            parse_file_name("00000000000000000042.log"),
            Some((42, FileKind::Log))
        );
        for name in [
            "42.log",
            "00000000000000000042",
            "00000000000000000042.log.deleted",
            "99999999999999999999.log",
            "-0000000000000000042.log",
            "+0000000000000000042.log",
            "0000000000000000004é.log",
            "",
        ] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn directories_split_at_the_last_dash() {
        assert_eq!(
            PartitionName::parse("a-b.c_d-12"),
            Some(partition("a-b.c_d", 12))
        );
        assert_eq!(PartitionName::parse("-0"), None);
        for name in [
            "topic",
            "topic-",
            "topic-x",
            "topic--1 ",
            "topic-00",
            "a/b-0",
            "..-0",
            "topic-2147483648",
        ] {
            assert_eq!(PartitionName::parse(name), None, "{name}");
        }
        assert_eq!(
            PartitionName::parse(&format!("{}-0", "t".repeat(250))),
            None
        );
    }

    #[test]
    fn marked_directories_fit_into_a_name() {
        let short = partition("orders", 3);
        let name = marked_name(&short, [0xab; 16], Mark::Delete);
        assert_eq!(name, format!("orders-3.{}-delete", "ab".repeat(16)));
        let long = partition(&"t".repeat(249), 1_000_000);
        for mark in [Mark::Delete, Mark::Stray] {
            assert_eq!(marked_name(&long, [1; 16], mark).len(), 255);
        }
        assert_eq!(
            classify(&marked_name(&long, [1; 16], Mark::Delete)),
            DirEntryKind::Delete
        );
        assert_eq!(
            classify(&marked_name(&long, [1; 16], Mark::Stray)),
            DirEntryKind::Stray
        );
        assert_eq!(
            classify(&marked_name(&short, [1; 16], Mark::Future)),
            DirEntryKind::Future(short)
        );
    }

    #[test]
    fn other_directories_are_told_apart() {
        assert_eq!(
            classify("__cluster_metadata-0"),
            DirEntryKind::ClusterMetadata
        );
        assert_eq!(classify("lost+found"), DirEntryKind::Other);
        // A topic may be called anything that is legal.
        assert_eq!(
            classify("x-delete-0"),
            DirEntryKind::Partition(partition("x-delete", 0))
        );
    }

    proptest! {
        #[test]
        fn any_name_is_classified_without_panic(name in ".{0,300}") {
            let _ = classify(&name);
            let _ = parse_file_name(&name);
        }

        #[test]
        fn partitions_round_trip(topic in "[a-zA-Z0-9._-]{1,249}", number in 0..=i32::MAX) {
            prop_assume!(topic != "." && topic != "..");
            let name = partition(&topic, number);
            prop_assert_eq!(PartitionName::parse(&name.to_string()), Some(name));
        }
    }
}
