//! Producers that no longer write are forgotten, at intervals, so that their number in memory stays bounded.

use std::rc::Rc;
use std::time::Duration;

use crate::shard::Shard;

/// Runs until the broker stops.
pub(crate) async fn run(shard: Rc<Shard>) {
    let every = u64::try_from(shard.config.broker.producer_id_expiration_check_interval_ms)
        .unwrap_or(u64::MAX)
        .max(1);
    while !shard.stopping.get() {
        shard.ring.sleep(Duration::from_millis(every)).await;
        // Asked anew each time: it can be changed while the broker runs.
        let expiration_ms = shard.layers().long("producer.id.expiration.ms");
        let mut forgotten = 0;
        for topic in shard.topics.all() {
            for partition in topic.here() {
                forgotten += partition.expire_producers(shard.steady_ms(), expiration_ms);
                shard.ring.yield_now().await;
            }
        }
        tracing::debug!(
            "{forgotten} idle producers forgotten on core {}",
            shard.index
        );
    }
}
