//! Retention: at intervals each log of this core is asked to drop what is too old or too much.

use std::rc::Rc;
use std::time::Duration;

use crate::shard::Shard;

/// The first look comes early, so that what expired while the broker was down goes soon (Kafka:
/// `LogManager.InitialTaskDelayMs`).
const FIRST: Duration = Duration::from_secs(30);

/// Runs until the broker stops.
pub(crate) async fn run(shard: Rc<Shard>) {
    let every = u64::try_from(shard.config.broker.log_retention_check_interval_ms)
        .unwrap_or(u64::MAX)
        .max(1);
    let every = Duration::from_millis(every);
    let mut wait = FIRST.min(every);
    loop {
        shard.ring.sleep(wait).await;
        wait = every;
        for log in shard.store.logs() {
            if shard.stopping.get() {
                return;
            }
            let now = shard.moment();
            match log.retain(now.steady_ms.min(now.wall_ms)).await {
                Ok(0) => {}
                Ok(segments) => tracing::info!(
                    "{}-{}: retention dropped {segments} segments",
                    log.topic(),
                    log.id().partition
                ),
                // An offline directory was reported when it failed.
                Err(error) => {
                    tracing::debug!("{}-{}: retention: {error}", log.topic(), log.id().partition)
                }
            }
        }
    }
}
