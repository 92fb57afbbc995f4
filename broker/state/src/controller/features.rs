//! Feature levels, as ApiVersions shows them (KIP-584).
//!
//! Finalized is only what this broker keeps to. `transaction.version` and `group.version` are left out on purpose: a
//! Java client that sees them switches to protocols which are not served.

use super::image::Image;
use super::record::Record;

/// A feature and the levels this broker can work at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedFeature {
    /// Kafka's name.
    pub name: &'static str,
    /// Lowest level.
    pub min_version: i16,
    /// Highest level.
    pub max_version: i16,
}

/// The name of the feature that stands for the version of all metadata.
pub const METADATA_VERSION: &str = "metadata.version";
/// Level of Kafka 4.3's `4.3-IV0`.
pub const METADATA_VERSION_LEVEL: i16 = 30;

/// What Kafka 4.3.1 lists as supported, less the features that are not here yet. kraft.version has level 0, so that
/// ApiVersions below version 4 leaves it out (KAFKA-17011).
pub const SUPPORTED: &[SupportedFeature] = &[
    SupportedFeature {
        name: "kraft.version",
        min_version: 0,
        max_version: 1,
    },
    SupportedFeature {
        name: METADATA_VERSION,
        min_version: 7,
        max_version: METADATA_VERSION_LEVEL,
    },
];

/// The levels a new cluster starts with.
pub(super) fn initial() -> impl Iterator<Item = Record> {
    [Record::FeatureLevel {
        name: METADATA_VERSION.to_string(),
        level: METADATA_VERSION_LEVEL,
    }]
    .into_iter()
}

pub(super) fn replay(image: &mut Image, name: &str, level: i16) {
    assert!(level >= 0, "feature {name} has level {level}");
    // Level 0 is how a feature is taken away.
    if level == 0 {
        image.features.remove_mut(name);
    } else {
        image.features.insert_mut(name.to_string(), level);
    }
}
