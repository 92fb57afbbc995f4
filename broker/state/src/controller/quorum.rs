//! What DescribeQuorum tells of the metadata log. One node is a quorum of one: leader, only voter, always caught up.

use super::image::Image;

/// The quorum's state, in the words of DescribeQuorumResponse's single partition `__cluster_metadata-0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// The controller that leads.
    pub leader_id: i32,
    /// Its term.
    pub leader_epoch: i32,
    /// Entries below this index are committed.
    pub high_watermark: i64,
    /// End of the one voter's copy.
    pub log_end_offset: i64,
}

impl Image {
    /// The quorum, seen from its one node.
    pub fn quorum(&self, node_id: i32) -> Quorum {
        let end = self.position.index + 1;
        Quorum {
            leader_id: node_id,
            leader_epoch: self.position.epoch,
            high_watermark: end,
            log_end_offset: end,
        }
    }
}
