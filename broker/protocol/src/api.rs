//! The APIs that are served, one row each: what ApiVersions tells, and how headers are read.
//!
//! The ranges are those of Kafka 4.3.1, without versions that are unstable there. A row means that the API works: it
//! appears together with its handler.

macro_rules! apis {
    ($( $api:ident = $key:literal, $first:literal..=$max:literal, flexible $flexible:tt $(, advertised from $min:literal)?; )*) => {
        /// An API that is served, by Kafka's name and number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        #[allow(missing_docs)] // each has its file under `messages`
        pub enum ApiKey {
            $( $api = $key, )*
        }

        static SERVED: &[ApiRow] = &[
            $( ApiRow {
                key: ApiKey::$api,
                name: stringify!($api),
                min: apis!(@min $first $($min)?),
                max: $max,
                first: $first,
                flexible: $flexible,
            }, )*
        ];
    };
    (@min $first:literal) => { $first };
    (@min $first:literal $min:literal) => { $min };
}

/// No version is flexible.
const NEVER: i16 = i16::MAX;

apis! {
    Produce = 0, 3..=13, flexible 9, advertised from 0;
    Fetch = 1, 4..=18, flexible 12;
    ListOffsets = 2, 1..=11, flexible 6;
    Metadata = 3, 0..=13, flexible 9;
    OffsetCommit = 8, 2..=10, flexible 8;
    OffsetFetch = 9, 1..=10, flexible 6;
    FindCoordinator = 10, 0..=6, flexible 3;
    JoinGroup = 11, 0..=9, flexible 6;
    Heartbeat = 12, 0..=4, flexible 4;
    LeaveGroup = 13, 0..=5, flexible 4;
    SyncGroup = 14, 0..=5, flexible 4;
    DescribeGroups = 15, 0..=6, flexible 5;
    ListGroups = 16, 0..=5, flexible 3;
    ApiVersions = 18, 0..=4, flexible 3;
    CreateTopics = 19, 2..=7, flexible 5;
    DeleteTopics = 20, 1..=6, flexible 4;
    DeleteRecords = 21, 0..=2, flexible 2;
    InitProducerId = 22, 0..=5, flexible 2;
    OffsetForLeaderEpoch = 23, 2..=4, flexible 4;
    DescribeAcls = 29, 1..=3, flexible 2;
    CreateAcls = 30, 1..=3, flexible 2;
    DeleteAcls = 31, 1..=3, flexible 2;
    DescribeConfigs = 32, 1..=4, flexible 4;
    AlterConfigs = 33, 0..=2, flexible 2;
    DescribeLogDirs = 35, 1..=5, flexible 2;
    CreatePartitions = 37, 0..=3, flexible 2;
    DeleteGroups = 42, 0..=2, flexible 2;
    ElectLeaders = 43, 0..=2, flexible 2;
    IncrementalAlterConfigs = 44, 0..=1, flexible 1;
    ListPartitionReassignments = 46, 0..=0, flexible 0;
    OffsetDelete = 47, 0..=0, flexible NEVER;
    DescribeClientQuotas = 48, 0..=1, flexible 1;
    DescribeUserScramCredentials = 50, 0..=0, flexible 0;
    DescribeQuorum = 55, 0..=2, flexible 0;
    DescribeCluster = 60, 0..=2, flexible 0;
    ListConfigResources = 74, 0..=1, flexible 0;
    DescribeTopicPartitions = 75, 0..=0, flexible 0;
}

/// One API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiRow {
    /// Number and name.
    pub key: ApiKey,
    /// Kafka's name.
    pub name: &'static str,
    /// Lowest version that ApiVersions shows. For Produce that is 0, though nothing below 3 is served: librdkafka
    /// would else believe that the broker has no message format v2 (KAFKA-18659).
    pub min: i16,
    /// Highest version, shown and served.
    pub max: i16,
    /// Lowest version that is served.
    pub first: i16,
    /// First version with compact lengths and tagged fields; `i16::MAX` if there is none.
    pub flexible: i16,
}

impl ApiRow {
    /// Whether requests of this version are answered.
    pub fn serves(&self, version: i16) -> bool {
        (self.first..=self.max).contains(&version)
    }

    /// Whether this version has compact lengths and tagged fields.
    pub fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible
    }
}

/// All APIs, by rising key.
pub fn served() -> &'static [ApiRow] {
    SERVED
}

/// The API with this key.
pub fn row(key: i16) -> Option<&'static ApiRow> {
    let at = SERVED
        .binary_search_by_key(&key, |row| row.key as i16)
        .ok()?;
    SERVED.get(at)
}

impl ApiKey {
    /// The row of this API.
    pub fn row(self) -> &'static ApiRow {
        row(self as i16).expect("every key has its row")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_is_found_by_its_key() {
        assert!(served().is_sorted_by(|a, b| (a.key as i16) < (b.key as i16)));
        for api in served() {
            assert_eq!(api.key.row(), api);
            assert!(api.min <= api.first && api.first <= api.max);
        }
        assert_eq!(row(4), None);
        assert_eq!(row(-1), None);
    }

    #[test]
    fn produce_shows_more_than_it_serves() {
        let produce = ApiKey::Produce.row();
        assert_eq!((produce.min, produce.max), (0, 13));
        assert!(!produce.serves(2));
        assert!(produce.serves(3));
    }
}
