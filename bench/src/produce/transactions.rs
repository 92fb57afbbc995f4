//! Transactions: each connection is a transactional producer that commits after so many batches (KIP-98).
//!
//! One after another, as a producer must: the partitions that are about to be written are added at the coordinator, the
//! batches go out and are answered, the coordinator commits. That is the protocol which all brokers with transactions
//! speak; what clients newer than KIP-890 leave out (AddPartitionsToTxn) is paid here. A transaction's latency, a part
//! of its own in the result, counts from when its first batch should have left to the acknowledged commit.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join;
use millstream_protocol::error::ErrorCode;
use millstream_ring::{Ring, Socket};

use super::{Sender, receive};
use crate::Fault;
use crate::cluster::{self, KeyType, ProducerId, Target, transactions};
use crate::link::Link;
use crate::load::{Lane, Stop, Workload};
use crate::report::Tally;

/// Name of this part of a result.
pub const PART: &str = "transaction";
/// The coordinator's answers name the partitions; those of one connection are few, or its buffer grows.
const ANSWER: usize = 4 << 10;
/// Kafka's client waits so long before it asks again while the markers of the transaction before are being written.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// How often a connection that waits for its next batch looks whether the time is over.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// Who a connection is to its transaction coordinator.
#[derive(Clone, Debug)]
pub struct Transactional {
    pub id: Arc<str>,
    pub coordinator: SocketAddr,
    /// Which part of the result transactions count for.
    pub role: usize,
}

/// Makes each connection a transactional producer: `id-0`, `id-1`, …
pub fn introduce(lanes: &mut [Lane], bootstrap: &str, id: &str, role: usize) -> Result<(), Fault> {
    if !cluster::has_transactions(bootstrap)? {
        return Err(
            format!("{bootstrap} has no transactions: EndTxn is not among its APIs").into(),
        );
    }
    for (at, lane) in lanes.iter_mut().enumerate() {
        let id = format!("{id}-{at}");
        let coordinator = cluster::coordinator(bootstrap, &id, KeyType::Transaction)?;
        let mut broker = cluster::connect(&coordinator.to_string())?;
        lane.producer = Some(cluster::producer_id(&mut broker, Some(&id))?);
        lane.transactional = Some(Transactional {
            id: id.into(),
            coordinator,
            role,
        });
    }
    Ok(())
}

/// Keeps one connection busy until `stop`; what is open then is committed, too. `tallies` of batches and of
/// transactions.
pub async fn drive(
    ring: &Ring,
    socket: Socket,
    lane: &Lane,
    [batches, transactions]: [&Rc<Tally>; 2],
    stop: &Stop,
) -> Result<(), Fault> {
    let Workload::Produce(plan) = &lane.workload else {
        return Err("only producers commit".into());
    };
    let sender = Sender::new(ring, socket, plan, lane, batches)?;
    stop.watch(&sender.window, &sender.socket);
    let outcome = commit_again_and_again(ring, &sender, lane, transactions, stop).await;
    batches.behind(sender.behind());
    outcome
}

async fn commit_again_and_again(
    ring: &Ring,
    sender: &Sender,
    lane: &Lane,
    counted: &Tally,
    stop: &Stop,
) -> Result<(), Fault> {
    let who = lane.transactional.as_ref().zip(lane.producer);
    let (who, producer) = who.ok_or("a producer without a transactional id")?;
    let coordinator = Socket::connect(ring, who.coordinator).await?;
    let mut coordinator = Coordinator {
        ring,
        link: Link::new(coordinator, ANSWER),
        id: &who.id,
        producer,
    };
    let batches = sender.plan.transaction_batches;
    while let Some(began) = due(ring, sender, stop).await {
        // The last one's end has stopped it.
        sender.window.reopen();
        coordinator
            .add(&next_targets(sender, lane, batches))
            .await?;
        let mut failed = 0;
        // When the time is over, its socket is, too.
        if !stop.is_stopped() {
            let before = sender.next.get();
            sender.left.set(Some(batches));
            let answers = sender.requests.iter().cycle().skip(before);
            let answers = receive(&sender.socket, answers, &sender.window, &sender.tally);
            let (sent, received) = join(sender.run(), answers).await;
            sent?;
            failed = received?;
        }
        coordinator.end(failed == 0).await?;
        if failed > 0 {
            return Err(
                format!("a transaction was aborted: {failed} of its batches failed").into(),
            );
        }
        counted.done(began, Instant::now(), 0, 0);
    }
    Ok(())
}

/// Waits until the next batch is due; when it is. `None`: the time is over.
async fn due(ring: &Ring, sender: &Sender, stop: &Stop) -> Option<Instant> {
    loop {
        if stop.is_stopped() {
            return None;
        }
        let now = Instant::now();
        let next = sender.next_due().unwrap_or(now);
        if next <= now {
            return Some(next);
        }
        ring.sleep((next - now).min(LOOK)).await;
    }
}

/// The partitions of the next so many batches, each once, in the order of the lane.
fn next_targets<'a>(sender: &Sender, lane: &'a Lane, batches: usize) -> Vec<&'a Target> {
    let (count, first) = (lane.targets.len(), sender.next.get());
    let written = |at: usize| (at + count - first % count) % count < batches;
    let targets = lane.targets.iter().enumerate();
    targets
        .filter_map(|(at, target)| written(at).then_some(target))
        .collect()
}

/// The coordinator's side of one producer.
struct Coordinator<'a> {
    ring: &'a Ring,
    link: Link,
    id: &'a str,
    producer: ProducerId,
}

impl Coordinator<'_> {
    async fn add(&mut self, targets: &[&Target]) -> Result<(), Fault> {
        let request = transactions::add_partitions(self.id, self.producer, targets)?;
        self.ask("adding partitions", request, transactions::added)
            .await
    }

    async fn end(&mut self, commit: bool) -> Result<(), Fault> {
        let request = transactions::end(self.id, self.producer, commit)?;
        let what = if commit { "committing" } else { "aborting" };
        self.ask(what, request, transactions::ended).await
    }

    /// Asks until the coordinator does not ask for patience any more.
    async fn ask(
        &mut self,
        what: &str,
        request: Vec<u8>,
        code_of: fn(&[u8]) -> Result<i16, Fault>,
    ) -> Result<(), Fault> {
        let deadline = Instant::now() + cluster::PATIENCE;
        loop {
            let code = code_of(self.link.call(request.clone()).await?)?;
            let patient = matches!(
                ErrorCode::from_code(code),
                Some(ErrorCode::ConcurrentTransactions | ErrorCode::CoordinatorLoadInProgress)
            );
            match code {
                0 => return Ok(()),
                _ if patient && Instant::now() < deadline => self.ring.sleep(RETRY_PAUSE).await,
                _ => {
                    let name = cluster::error_name(code);
                    return Err(format!("{what}: transaction coordinator: {name}").into());
                }
            }
        }
    }
}
