//! `produce`: prebuilt batches, as many in flight as asked for, in a closed or an open loop.
//!
//! Built once: the batches, and for each partition the bytes of the request around them ([`request`]). Of a request only
//! the correlation id is new, and the sequence number of an idempotent producer. Small requests are copied together so
//! that many go in one send; large ones go as a gather list around the shared records.

pub mod payload;
pub mod request;
pub mod transactions;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_ring::{Buffer, Bytes, Ring, Socket};

use crate::Fault;
use crate::cluster::{self, ProducerId, Target, TopicOptions};
use crate::connection::{Window, i16_at, i32_at, split_frame};
use crate::load::{self, Lane, LoadOptions, Stop, Workload};
use crate::pace::Pace;
use crate::report::{self, Outcome, Tally};
use payload::{Batch, PayloadOptions};
use request::{Fresh, Request, TOPIC_LEN_MAX};

/// Name of this part of a result.
pub const PART: &str = "produce";
/// Up to here a copy is cheaper than one more entry of a gather list.
const COPIED_MAX: usize = 16 << 10;
/// Bytes of one send.
const SEND_MAX: usize = 256 << 10;
const RECEIVE: usize = 64 << 10;
/// More would let a broker refuse retried batches of an idempotent producer (KIP-98).
const IDEMPOTENT_IN_FLIGHT_MAX: usize = 5;

#[derive(clap::Args, Clone, Debug)]
// Other commands have these options among theirs; groups are named after the type unless told.
#[group(id = "produce-options")]
pub struct Options {
    #[command(flatten)]
    pub topics: TopicOptions,
    #[command(flatten)]
    pub load: LoadOptions,
    #[command(flatten)]
    pub pace: PaceOptions,
    #[command(flatten)]
    pub payload: PayloadOptions,
    /// Requests in flight on each connection.
    #[arg(long, default_value_t = 5)]
    pub in_flight: usize,
    /// -1 all, 1 leader, 0 none: then a request counts as done when it was sent.
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    pub acks: i16,
    /// Each connection is an idempotent producer.
    #[arg(long)]
    pub idempotence: bool,
    /// Each connection is a transactional producer, with a number behind this id; idempotent, too.
    #[arg(long, value_name = "ID")]
    pub transactional_id: Option<String>,
    /// Batches of a transaction, after which a connection waits for all answers and commits.
    #[arg(
        long,
        default_value_t = 10,
        requires = "transactional_id",
        value_name = "BATCHES"
    )]
    pub transaction_batches: usize,
}

impl Options {
    /// Whether connections commit what they produce.
    pub fn is_transactional(&self) -> bool {
        self.transactional_id.is_some()
    }

    fn is_idempotent(&self) -> bool {
        self.idempotence || self.is_transactional()
    }
}

/// Closed or open loop.
#[derive(clap::Args, Clone, Debug)]
pub struct PaceOptions {
    /// Open loop: records a second over all connections, sent when they are due whether or not the broker answers; latency
    /// counts from then. Without it each connection sends when an answer makes room.
    #[arg(long, value_name = "RECORDS/S")]
    pub rate: Option<f64>,
}

/// What all connections share.
pub struct Plan {
    batches: Vec<Batch>,
    acks: i16,
    in_flight: usize,
    transaction_batches: usize,
    /// The time between two requests of one connection.
    interval: Option<Duration>,
    /// The run's number, where records carry the time they are sent.
    stamp: Option<u64>,
}

impl Plan {
    /// Builds the batches; `connections` share the rate. `stamp` is the number of a run that measures from end to end.
    pub fn new(options: &Options, connections: usize, stamp: Option<u64>) -> Result<Plan, Fault> {
        if options.in_flight == 0 {
            return Err("--in-flight must be at least 1".into());
        }
        if options.is_idempotent()
            && (options.acks != -1 || options.in_flight > IDEMPOTENT_IN_FLIGHT_MAX)
        {
            return Err("idempotent producers need --acks -1 and at most 5 in flight".into());
        }
        if options.transaction_batches == 0 {
            return Err("--transaction-batches must be at least 1".into());
        }
        let batches = payload::build(&options.payload, stamp.is_some())?;
        let records: i32 = batches.iter().map(|batch| batch.header.record_count).sum();
        let records = f64::from(records) / batches.len() as f64;
        let interval = options.pace.rate.map(|rate| {
            Duration::try_from_secs_f64(records * connections as f64 / rate)
                .map_err(|_| format!("--rate {rate} is none"))
        });
        Ok(Plan {
            batches,
            acks: options.acks,
            in_flight: options.in_flight,
            transaction_batches: options.transaction_batches,
            interval: interval.transpose()?,
            stamp,
        })
    }

    /// Whether requests leave by schedule.
    pub fn is_open(&self) -> bool {
        self.interval.is_some()
    }

    /// Bytes of a typical batch.
    pub fn batch_len(&self) -> usize {
        self.batches[0].bytes.len()
    }

    /// Records of a typical batch.
    pub fn record_count(&self) -> i32 {
        self.batches[0].header.record_count
    }
}

/// Runs the command; whether it went without errors.
pub fn run(options: &Options) -> Result<bool, Fault> {
    let outcome = outcome(options)?;
    report::publish(&outcome, &options.load)
}

/// Runs the load.
pub fn outcome(options: &Options) -> Result<Outcome, Fault> {
    let targets = targets(options)?;
    let plan = Arc::new(Plan::new(options, options.load.connections, None)?);
    let lanes = lanes(options, &targets, &plan, 1)?;
    let roles = [PART, transactions::PART];
    let roles = &roles[..1 + usize::from(options.is_transactional())];
    let measured = load::run(&options.load, lanes, roles)?;
    Ok(report::outcome(&title(options, &targets, &plan), &measured))
}

/// The partitions to produce to, created where they are missing.
pub fn targets(options: &Options) -> Result<Vec<Target>, Fault> {
    let targets = cluster::prepare(&options.topics)?;
    if (targets.iter()).any(|target| target.topic.len() > TOPIC_LEN_MAX) {
        return Err(format!("topic names must have at most {TOPIC_LEN_MAX} bytes").into());
    }
    Ok(targets)
}

/// The producing connections. `transactions` is the role that their transactions count for.
pub fn lanes(
    options: &Options,
    targets: &[Target],
    plan: &Arc<Plan>,
    transactions: usize,
) -> Result<Vec<Lane>, Fault> {
    let mut lanes = load::lanes(
        targets,
        options.load.connections,
        &Workload::Produce(plan.clone()),
    );
    let bootstrap = &options.topics.bootstrap;
    if let Some(id) = &options.transactional_id {
        transactions::introduce(&mut lanes, bootstrap, id, transactions)?;
    } else if options.idempotence {
        let ids = cluster::producer_ids(bootstrap, lanes.len())?;
        for (lane, id) in lanes.iter_mut().zip(ids) {
            lane.producer = Some(id);
        }
    }
    Ok(lanes)
}

fn title(options: &Options, targets: &[Target], plan: &Plan) -> String {
    format!(
        "produce {}: {} partitions, {} connections x {} in flight, acks {}{}, batches of {} bytes with {} records, {}, {}",
        options.topics.bootstrap,
        targets.len(),
        options.load.connections,
        options.in_flight,
        options.acks,
        match (options.is_transactional(), options.idempotence) {
            (true, _) => format!(
                " in transactions of {} batches",
                options.transaction_batches
            ),
            (false, true) => " idempotent".into(),
            (false, false) => String::new(),
        },
        plan.batch_len(),
        plan.record_count(),
        options.payload.codec.name(),
        match options.pace.rate {
            Some(rate) => format!("open loop of {rate} records/s"),
            None => "closed loop".into(),
        },
    )
}

/// Keeps one connection busy until `stop`.
pub async fn drive(
    ring: &Ring,
    socket: Socket,
    plan: &Arc<Plan>,
    lane: &Lane,
    tally: &Rc<Tally>,
    stop: &Stop,
) -> Result<(), Fault> {
    let sender = Sender::new(ring, socket.clone(), plan, lane, tally)?;
    let (requests, window) = (sender.requests.clone(), sender.window.clone());
    stop.watch(&window, &socket);
    if plan.acks == 0 {
        let sent = sender.run().await;
        tally.behind(sender.behind());
        return sent;
    }
    ring.spawn(async move {
        if let Err(fault) = sender.run().await {
            sender.tally.lost(&fault);
        }
        sender.tally.behind(sender.behind());
        // The receiver may be waiting for an answer to nothing.
        if sender.window.in_flight() == 0 {
            sender.socket.shutdown();
        }
    });
    let received = receive(&socket, requests.iter().cycle(), &window, tally).await;
    window.stop();
    received.map(|_failed| ())
}

/// One connection's sending half.
struct Sender {
    ring: Ring,
    socket: Socket,
    plan: Arc<Plan>,
    requests: Rc<Vec<Request>>,
    window: Rc<Window>,
    tally: Rc<Tally>,
    /// The next sequence number of each partition.
    sequences: RefCell<Vec<i32>>,
    producer: Option<ProducerId>,
    pace: RefCell<Option<Pace>>,
    /// The next request.
    next: Cell<usize>,
    /// How many may leave before it stops, where that is not for ever.
    left: Cell<Option<usize>>,
}

impl Sender {
    fn new(
        ring: &Ring,
        socket: Socket,
        plan: &Arc<Plan>,
        lane: &Lane,
        tally: &Rc<Tally>,
    ) -> Result<Sender, Fault> {
        let id = lane.transactional.as_ref().map(|who| &*who.id);
        let mut requests = Vec::with_capacity(lane.targets.len() * plan.batches.len());
        for batch in &plan.batches {
            for target in &lane.targets {
                requests.push(Request::new(batch, target, plan.acks, id)?);
            }
        }
        // Connections begin one after another within the first interval.
        let pace = plan.interval.map(|interval| {
            let phase = interval.mul_f64(lane.at as f64 / lane.of.max(1) as f64);
            Pace::new(Instant::now() + phase, interval)
        });
        Ok(Sender {
            ring: ring.clone(),
            socket,
            plan: plan.clone(),
            requests: Rc::new(requests),
            window: Rc::new(Window::new(plan.in_flight)),
            tally: tally.clone(),
            sequences: RefCell::new(vec![0; lane.targets.len()]),
            producer: lane.producer,
            pace: RefCell::new(pace),
            next: Cell::new(0),
            left: Cell::new(None),
        })
    }

    /// Sends requests while there is room in the window and, in an open loop, when they are due.
    async fn run(&self) -> Result<(), Fault> {
        let frame_max = self.requests.iter().map(Request::len).max().unwrap_or(0);
        loop {
            let room = self.window.room().await;
            let room = self.left.get().map_or(room, |left| room.min(left));
            if room == 0 {
                return Ok(());
            }
            let Some(first) = self.due().await else {
                continue;
            };
            let mut parts = Vec::new();
            let mut small = Small::new(frame_max, room);
            let (mut bytes, mut sent) = (0, Vec::new());
            let mut intended = Some(first);
            while let Some(leaves) = intended {
                let at = self.take_turn();
                let request = &self.requests[at];
                let fresh = self.fresh(at, leaves);
                if request.is_stamped() || request.len() <= COPIED_MAX {
                    small.add(request, &fresh);
                } else {
                    parts.extend(request.gather(&fresh));
                }
                bytes += request.len();
                sent.push((at, leaves));
                let more = sent.len() < room && bytes < SEND_MAX;
                intended = if more { self.due_now(first) } else { None };
            }
            parts.extend(small.finish());
            let left = self.left.get().map(|left| left - sent.len());
            self.left.set(left);
            if left == Some(0) {
                // Before the last answer can come: the receiver ends with it.
                self.window.stop();
            }
            self.socket.send(parts).await?;
            if self.plan.acks == 0 {
                self.count_as_done(&sent);
            }
        }
    }

    fn take_turn(&self) -> usize {
        let at = self.next.get();
        let next = at + 1;
        self.next
            .set(if next < self.requests.len() { next } else { 0 });
        at
    }

    /// When the next request should leave: waits until then. `None`: the time is over.
    async fn due(&self) -> Option<Instant> {
        loop {
            let now = Instant::now();
            let next = match self.pace.borrow_mut().as_mut() {
                None => return Some(now),
                Some(pace) => match pace.take(now) {
                    Some(due) => return Some(due),
                    None => pace.next(),
                },
            };
            let mut pause = next.saturating_duration_since(now);
            if self.left.get().is_some() {
                // What is open must be committed soon after the end.
                pause = pause.min(transactions::LOOK);
            }
            self.ring.sleep(pause).await;
            if self.window.is_stopped() {
                return None;
            }
        }
    }

    /// When the next request should leave, in an open loop.
    fn next_due(&self) -> Option<Instant> {
        self.pace.borrow().as_ref().map(Pace::next)
    }

    /// The same for a further request of the same send, if it is due.
    fn due_now(&self, first: Instant) -> Option<Instant> {
        match self.pace.borrow_mut().as_mut() {
            None => Some(first),
            Some(pace) => pace.take(Instant::now()),
        }
    }

    fn behind(&self) -> u64 {
        let pace = self.pace.borrow();
        pace.as_ref().map_or(0, |pace| pace.behind(Instant::now()))
    }

    fn fresh(&self, at: usize, leaves: Instant) -> Fresh {
        let mut sequences = self.sequences.borrow_mut();
        let partition = at % sequences.len();
        let sequence = self.producer.map(|producer| {
            let sequence = sequences[partition];
            // Sequence numbers go around from 2³¹ − 1 to 0.
            sequences[partition] = sequence.wrapping_add(self.requests[at].record_count) & i32::MAX;
            (producer, sequence)
        });
        Fresh {
            correlation: self.window.sent(leaves),
            sequence,
            stamp: self.plan.stamp.map(|run| (run, leaves)),
        }
    }

    fn count_as_done(&self, sent: &[(usize, Instant)]) {
        let done = Instant::now();
        for (at, leaves) in sent {
            let request = &self.requests[*at];
            self.window.pop();
            let records = u64::try_from(request.record_count).unwrap_or(0);
            self.tally.done(*leaves, done, request.batch_len, records);
        }
    }
}

/// Small requests copied one behind the other.
struct Small {
    buffer: Option<Buffer>,
    capacity: usize,
}

impl Small {
    /// Room for as many of `count` requests as one send takes. Just that: buffers wait in every connection.
    fn new(frame_max: usize, count: usize) -> Small {
        Small {
            buffer: None,
            capacity: frame_max.saturating_mul(count).min(SEND_MAX + frame_max),
        }
    }

    fn add(&mut self, request: &Request, fresh: &Fresh) {
        let buffer = self
            .buffer
            .get_or_insert_with(|| Buffer::with_capacity(self.capacity));
        request.copy(fresh, buffer);
    }

    fn finish(self) -> Option<Bytes> {
        self.buffer.map(Buffer::freeze)
    }
}

/// Reads answers to these requests: correlation id and error code at their known places, nothing else. How many had an
/// error.
async fn receive<'a>(
    socket: &Socket,
    mut requests: impl Iterator<Item = &'a Request>,
    window: &Window,
    tally: &Tally,
) -> Result<u64, Fault> {
    let mut partial = Buffer::with_capacity(0);
    let mut failed = 0;
    loop {
        if window.is_stopped() && window.in_flight() == 0 {
            return Ok(failed);
        }
        // Between answers a connection holds no buffer: there may be thousands.
        let mut buffer = match partial.is_empty() {
            true => socket.recv_idle().await?,
            false => {
                let mut buffer = Buffer::with_capacity(RECEIVE);
                buffer.extend_from_slice(&partial);
                let received;
                (received, buffer) = socket.recv(buffer).await;
                match received? {
                    0 => Buffer::with_capacity(0),
                    _ => buffer,
                }
            }
        };
        if buffer.is_empty() {
            return match window.in_flight() {
                0 => Ok(failed),
                open => Err(
                    format!("the broker closed the connection with {open} requests open").into(),
                ),
            };
        }
        let now = Instant::now();
        let mut position = 0;
        while let Some((frame, length)) = split_frame(&buffer[position..]) {
            position += length;
            let sent = i32_at(frame, 0).and_then(|correlation| window.answered(correlation));
            let sent = sent.ok_or("an answer to another request")?;
            let request = requests.next().ok_or("no partitions")?;
            let records = u64::try_from(request.record_count)?;
            match i16_at(frame, request.error_code_at).ok_or("an answer that is too short")? {
                0 => tally.done(sent, now, request.batch_len, records),
                code => {
                    failed += 1;
                    tally.failed(code);
                }
            }
        }
        buffer.consume(position);
        if buffer.len() == RECEIVE {
            return Err("an answer larger than any to one partition".into());
        }
        partial = if buffer.is_empty() {
            Buffer::with_capacity(0)
        } else {
            buffer
        };
        window.wake();
    }
}
