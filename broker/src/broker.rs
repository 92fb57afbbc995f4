//! Start and stop of the whole process.
//!
//! The first core opens storage and metadata, divides the logs, starts the other cores and then serves as one of them.
//! Nothing on disk changes before everything that can be refused was checked.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use millstream_protocol::uuid::Uuid;
use millstream_ring::{CoreOptions, Listener, MemoryKeeper, MeshEnd, Ring};
use millstream_state::controller::Image;
use millstream_state::incremental_fetch::FetchSessions;
use millstream_storage::{OpenError, Stopped, Store, StoreSeed};

use crate::boot::{self, BootError};
use crate::calls::{Calls, MAILBOX_MESSAGES_MAX, Message};
use crate::clock::SteadyClock;
use crate::config::Config;
use crate::controller::{apply, metadata_log::MetadataError};
use crate::coordinator::Groups;
use crate::handover::Handover;
use crate::limits::{self, TooFewFiles};
use crate::metrics::{self, CoreMetrics, exposition};
use crate::net::connections::{self, Connections};
use crate::net::listener;
use crate::net::memory::Memory;
use crate::net::quotas::ConnectionQuotas;
use crate::net::warnings::Warnings;
use crate::partition::expiry;
use crate::partition::waiters::WaitsFromAfar;
use crate::retention;
use crate::scrub;
use crate::shard::Shard;
use crate::topics::Topics;

/// How long a start waits for the port of a predecessor that is dying, and how often it looks.
const PORT_WAIT: Duration = Duration::from_secs(3);
const PORT_RETRY: Duration = Duration::from_millis(10);
/// What ends a broker cleanly.
const STOP_SIGNALS: [i32; 2] = [libc::SIGTERM, libc::SIGINT];
/// How long a stop waits for connections to get the replies that are under way.
const DRAIN: Duration = Duration::from_secs(3);
/// How long it then waits for those that were cut off to be gone.
const CUT_OFF: Duration = Duration::from_secs(1);
const DRAIN_LOOK: Duration = Duration::from_millis(5);
/// How often a broker looks whether it has a data directory left.
const OFFLINE_LOOK: Duration = Duration::from_millis(500);
/// Submission queue of each core's ring.
const RING_ENTRIES: u32 = 1024;
/// Between two looks for memory that became free.
const MEMORY_LOOK: Duration = Duration::from_secs(20);

/// Exit code of a process that did not start.
pub const EXIT_START: i32 = 2;

/// Why the broker does not start: one line, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// io_uring is not to be had.
    #[error(transparent)]
    Ring(#[from] millstream_ring::Denied),
    /// Too few open files.
    #[error(transparent)]
    Files(#[from] TooFewFiles),
    /// A core that was asked for is not to be had.
    #[error(
        "core {0} cannot be used: the process may run on {1:?} (--cores, taskset, the container's cpuset)"
    )]
    Core(usize, Vec<usize>),
    /// An address cannot be listened on.
    #[error("cannot listen on {0}: {1}; {advice}", advice = listen_advice(.1))]
    Listen(SocketAddr, io::Error),
    /// Metrics cannot be served there.
    #[error("cannot listen on metrics.listener={0}: {1}; choose another address or leave it out")]
    Metrics(SocketAddr, io::Error),
    /// The data directories cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The metadata cannot be used.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// What is on disk and the configuration do not fit.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// A thread cannot be started.
    #[error("cannot start a core's thread: {0}")]
    Thread(io::Error),
}

fn listen_advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrNotAvailable => "name an address of this machine in listeners=, or none",
        io::ErrorKind::PermissionDenied => {
            "choose a port from 1024 on with listeners=, or grant CAP_NET_BIND_SERVICE"
        }
        _ => "another broker may be running, or choose another port with listeners=",
    }
}

/// How a broker that ran came to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It never ran.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The clean stop did not succeed; the next start recovers.
    #[error("the stop was not clean, the next start recovers what it left: {0}")]
    Stop(String),
    /// Every data directory failed; each said why when it did.
    #[error(
        "all data directories are offline; a start after they are repaired recovers what was acknowledged"
    )]
    Offline,
}

/// Runs a broker until SIGTERM or SIGINT.
pub fn run(config: Config) -> Result<(), RunError> {
    millstream_ring::block_signals(&STOP_SIGNALS).map_err(StartError::Thread)?;
    die_together();
    keep_memory().map_err(StartError::Thread)?;
    let cores = choose_cores(&config).map_err(RunError::from)?;
    millstream_ring::probe_for(cores.len()).map_err(StartError::from)?;
    limits::raise_open_files(cores.len()).map_err(StartError::from)?;
    let mut config = with_addresses(config)?;
    let numbers = metrics_of(&config, cores.len());
    if let Some(listener) = open_metrics(&mut config)? {
        serve_metrics(listener, &config, numbers.clone()).map_err(StartError::Thread)?;
    }
    let config = Arc::new(config);
    let options = core_options(&config, cores[0], 0);
    let first = millstream_ring::start(options, move |ring| {
        first_core(ring, config, cores, numbers)
    })
    .map_err(StartError::Thread)?;
    match first.join() {
        Ok(outcome) => outcome,
        Err(_) => std::process::abort(),
    }
}

/// A core that dies would leave its partitions without a home and its callers without an answer: the process goes too.
fn die_together() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

/// Memory is made ready, and goes back to the system, wherever it lies. Not by the cores, which have other work.
fn keep_memory() -> io::Result<()> {
    let mut keeper = MemoryKeeper::default();
    std::thread::Builder::new()
        .name("memory".to_owned())
        .spawn(move || {
            loop {
                keeper.keep_for(MEMORY_LOOK);
                keeper.give_back();
            }
        })?;
    Ok(())
}

fn choose_cores(config: &Config) -> Result<Vec<usize>, StartError> {
    let allowed = millstream_ring::allowed_cpus();
    let Some(cores) = &config.cores else {
        return Ok(allowed);
    };
    match cores.iter().find(|core| !allowed.contains(core)) {
        Some(core) => Err(StartError::Core(*core, allowed)),
        None => Ok(cores.clone()),
    }
}

/// Each address is bound once without SO_REUSEPORT, so that a second broker of the same user cannot share a port unseen.
/// Port 0 becomes the one the kernel chose, for all addresses of a listener.
fn with_addresses(mut config: Config) -> Result<Config, StartError> {
    for listener in &mut config.listeners {
        let mut chosen = None;
        for address in &mut listener.bind {
            if let Some(port) = chosen.filter(|_| address.port() == 0) {
                address.set_port(port);
            }
            *address = patiently(|| millstream_ring::check_free(*address))
                .map_err(|error| StartError::Listen(*address, error))?;
            chosen = Some(address.port());
        }
        if let Some(port) = chosen.filter(|_| listener.advertised_port == 0) {
            listener.advertised_port = port;
        }
    }
    Ok(config)
}

/// The sockets of a process that was killed live on until its rings are gone, which takes a moment: an address that is in
/// use is asked for again until [`PORT_WAIT`] has passed.
fn patiently<T>(ask: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let started = Instant::now();
    loop {
        match ask() {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && started.elapsed() < PORT_WAIT =>
            {
                std::thread::sleep(PORT_RETRY);
            }
            outcome => return outcome,
        }
    }
}

/// Each core's numbers.
fn metrics_of(config: &Config, cores: usize) -> Arc<[CoreMetrics]> {
    let directories = config.log_dirs.len();
    (0..cores).map(|_| CoreMetrics::new(directories)).collect()
}

/// Opens `metrics.listener`, if it is set. Port 0 becomes the one the kernel chose.
fn open_metrics(config: &mut Config) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = &mut config.metrics_listener else {
        return Ok(None);
    };
    let failed = |error| StartError::Metrics(*address, error);
    let listener = patiently(|| metrics::server::listen(*address)).map_err(failed)?;
    *address = listener.local_addr().map_err(failed)?;
    Ok(Some(listener))
}

/// Serves the cores' numbers from now on.
fn serve_metrics(
    listener: TcpListener,
    config: &Config,
    numbers: Arc<[CoreMetrics]>,
) -> io::Result<()> {
    let directories = config
        .log_dirs
        .iter()
        .map(|path| path.display().to_string());
    let registry = exposition::registry(numbers, directories.collect());
    metrics::server::start(listener, registry)
}

fn core_options(config: &Config, cpu: usize, index: usize) -> CoreOptions {
    CoreOptions {
        cpu: Some(cpu),
        name: format!("core-{index}"),
        entries: RING_ENTRIES,
        scratch_dirs: config
            .log_dirs
            .iter()
            .map(|directory| existing_parent(directory))
            .collect(),
    }
}

/// The directory itself, or what exists of its path: same device, nearly always.
fn existing_parent(directory: &Path) -> PathBuf {
    let mut path = directory;
    while !path.is_dir() {
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => path = parent,
            _ => return PathBuf::from("."),
        }
    }
    path.to_owned()
}

/// The life of the first core, which leads start and stop.
async fn first_core(
    ring: Ring,
    config: Arc<Config>,
    cores: Vec<usize>,
    metrics: Arc<[CoreMetrics]>,
) -> Result<(), RunError> {
    let boot = boot::open(&ring, &config, cores.len()).await?;
    let image = boot.controller.image();
    let (controller, directories, seeds, finish) = boot.divide(&image);
    let setup = Setup {
        config: config.clone(),
        cores: cores.len(),
        directories: directories.into(),
        image: image.clone(),
        quotas: ConnectionQuotas::default(),
        warnings: Arc::new(Warnings::new()),
        metrics,
    };
    let mut ends = millstream_ring::mesh::<Message>(cores.len(), MAILBOX_MESSAGES_MAX)
        .into_iter()
        .enumerate();
    let mut seeds = seeds.into_iter();
    let (Some((_, end)), Some(seed)) = (ends.next(), seeds.next()) else {
        unreachable!("there is a first core");
    };
    for ((index, end), seed) in ends.zip(seeds) {
        start_core(setup.clone(), cores[index], index, end, seed).map_err(StartError::Thread)?;
    }
    let shard = open_shard(&ring, setup, 0, end, seed).await?;
    shard.controller.replace(Some(Rc::new(controller)));
    ring.spawn(Calls::serve(shard.clone()));
    each_core(&shard, |there| async move { Ok::<_, String>(there.index) })
        .await
        .map_err(RunError::Stop)?;
    finish.run(&ring).await.map_err(StartError::from)?;
    // Not before: a log that is still to be created waits for the journals' authority.
    apply::delete_leftovers(&shard).await;
    let records = image.records().collect();
    apply::publish(&shard, image, records).await;
    listen_everywhere(&shard).await?;
    crate::banner::print(&config, &cores);
    crate::host::advise(&config.log_dirs);
    let signal = pin!(ring.signal(&STOP_SIGNALS));
    match select(signal, pin!(last_directory_offline(&shard))).await {
        Either::Left((signal, _)) => signal.map_err(StartError::Thread)?,
        Either::Right(_) => return Err(RunError::Offline),
    };
    tracing::info!("stopping");
    stop(&shard).await
}

/// Returns when no data directory is left that takes anything: as Kafka does (`ReplicaManager.handleLogDirFailure`), the
/// process ends then, so that whoever supervises it learns of it. What was acknowledged is flushed, and nothing else can be.
async fn last_directory_offline(shard: &Shard) {
    while !shard.store.dirs().iter().all(|dir| dir.offline.is_some()) {
        shard.ring.sleep(OFFLINE_LOOK).await;
    }
}

/// What every core gets.
#[derive(Clone)]
struct Setup {
    config: Arc<Config>,
    cores: usize,
    directories: Arc<[Uuid]>,
    image: Arc<Image>,
    quotas: ConnectionQuotas,
    warnings: Arc<Warnings>,
    metrics: Arc<[CoreMetrics]>,
}

/// Starts one of the further cores, which does what the first one sends it. The first one ends the process.
fn start_core(
    setup: Setup,
    cpu: usize,
    index: usize,
    end: MeshEnd<Message>,
    seed: StoreSeed,
) -> io::Result<()> {
    let options = core_options(&setup.config, cpu, index);
    millstream_ring::start(options, move |ring| async move {
        match open_shard(&ring, setup, index, end, seed).await {
            Ok(shard) => Calls::serve(shard).await,
            Err(error) => {
                let _closed = writeln!(io::stderr(), "millstream: {error}");
                std::process::exit(EXIT_START);
            }
        }
    })?;
    Ok(())
}

async fn open_shard(
    ring: &Ring,
    setup: Setup,
    index: usize,
    end: MeshEnd<Message>,
    seed: StoreSeed,
) -> Result<Rc<Shard>, StartError> {
    let store = Store::start(ring, seed).await?;
    let shard = Rc::new(Shard {
        index,
        cores: setup.cores,
        ring: ring.clone(),
        calls: Calls::new(end.join(ring)),
        handover: Handover::default(),
        store,
        topics: Topics::default(),
        groups: Groups::default(),
        fetch_sessions: RefCell::new(fetch_sessions(&setup.config, index, setup.cores)),
        waits_from_afar: WaitsFromAfar::default(),
        connections: Connections::default(),
        memory: Memory::new(&setup.config, setup.cores),
        quotas: setup.quotas,
        warnings: setup.warnings,
        metrics: setup.metrics,
        controller: RefCell::default(),
        commit_waiters: RefCell::default(),
        steady: SteadyClock::new(ring.now(), ring.wall_ms()),
        stopping: Cell::new(false),
        config: setup.config,
        directories: setup.directories,
        image: RefCell::new(setup.image),
    });
    let weak = Rc::downgrade(&shard);
    shard.store.on_commit(Box::new(move || {
        if let Some(shard) = weak.upgrade() {
            shard.committed();
        }
    }));
    ring.spawn_background(retention::run(shard.clone()));
    ring.spawn_background(scrub::run(shard.clone()));
    ring.spawn_background(metrics::copy(shard.clone()));
    ring.spawn_background(expiry::run(shard.clone()));
    ring.spawn_background(connections::close_idle(shard.clone()));
    Ok(shard)
}

/// Session ids are drawn from a range of each core's own; a session belongs to the core that gave it out.
fn fetch_sessions(config: &Config, index: usize, cores: usize) -> FetchSessions {
    let slots = (config.broker.max_incremental_fetch_session_cache_slots / cores).max(1);
    let span = i32::MAX / i32::try_from(cores).unwrap_or(i32::MAX);
    let start = span * i32::try_from(index).unwrap_or(0) + 1;
    let seed = uuid::Uuid::new_v4().as_u64_pair().0;
    FetchSessions::new(slots, start..start + (span - 1), seed)
}

/// Runs `work` on every core at once and gathers the results in core order.
async fn each_core<R, E, F, Fut>(shard: &Rc<Shard>, work: F) -> Result<Vec<R>, E>
where
    R: Send + 'static,
    E: Send + 'static,
    F: FnOnce(Rc<Shard>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<R, E>> + 'static,
{
    let mut calls = Vec::with_capacity(shard.cores);
    for core in 0..shard.cores {
        calls.push(shard.call(core, work.clone()).await);
    }
    futures_util::future::join_all(calls)
        .await
        .into_iter()
        .collect()
}

/// Every core opens every address before any of them serves.
async fn listen_everywhere(shard: &Rc<Shard>) -> Result<(), StartError> {
    each_core(shard, |there| async move {
        let mut opened: Vec<(usize, Listener)> = Vec::new();
        for (index, listener) in there.config.listeners.iter().enumerate() {
            for address in &listener.bind {
                let socket = listener::listen(&there, *address)
                    .map_err(|error| StartError::Listen(*address, error))?;
                opened.push((index, socket));
            }
        }
        for (index, listener) in opened {
            there.connections.accept(&there, listener, index);
        }
        Ok(())
    })
    .await
    .map(|_| ())
}

/// SIGTERM: stop accepting, finish what was received, flush, settle, cut.
async fn stop(shard: &Rc<Shard>) -> Result<(), RunError> {
    let drained: Result<Vec<()>, String> = each_core(shard, |there| async move {
        there.stopping.set(true);
        there.connections.stop_reading();
        for topic in there.topics.all() {
            topic
                .here()
                .iter()
                .for_each(|partition| partition.waiters.wake());
        }
        there.groups.close_all();
        drained(&there, DRAIN).await;
        there.connections.shut_down();
        drained(&there, CUT_OFF).await;
        Ok(())
    })
    .await;
    drained.map_err(RunError::Stop)?;
    // Only now that no core has connections: what is still on its way between them, or left behind, appends no more.
    let stopped = each_core(shard, |there| async move {
        for topic in there.topics.all() {
            topic.here().iter().for_each(|partition| partition.close());
        }
        there.store.stop().await
    });
    let stopped = stopped.await;
    let stopped = stopped.map_err(|error| RunError::Stop(error.to_string()))?;
    Stopped::finish(stopped, &shard.ring)
        .await
        .map_err(|error| RunError::Stop(error.to_string()))?;
    let offline = shard
        .store
        .dirs()
        .into_iter()
        .find_map(|dir| Some((dir.path, dir.offline?)));
    match offline {
        Some((path, cause)) => Err(RunError::Stop(format!(
            "{} is offline: {cause}",
            path.display()
        ))),
        None => Ok(()),
    }
}

/// Returns when the core has no connections any more, or after `patience`.
async fn drained(shard: &Shard, patience: Duration) {
    let deadline = shard.ring.now() + patience;
    while shard.connections.count() > 0 && shard.ring.now() < deadline {
        shard.ring.sleep(DRAIN_LOOK).await;
    }
}

/// `millstream recover DIR`: opens a data directory, recovers it and stops it cleanly, without serving anyone.
pub fn recover(directory: &Path) -> Result<(), RunError> {
    let directory = directory.to_owned();
    let scratch = existing_parent(&directory);
    alone("recover", scratch, move |ring| async move {
        boot::recover(&ring, directory).await
    })
}

/// `millstream scrub DIR...`: reads the sealed segments of data directories that no broker uses. Returns how many things are
/// not as they were written.
pub fn scrub(directories: Vec<PathBuf>) -> Result<u64, RunError> {
    let scratch = directories.first().map(|first| existing_parent(first));
    alone(
        "scrub",
        scratch.unwrap_or_default(),
        move |ring| async move { scrub::offline(&ring, directories).await },
    )
}

/// Runs on one core, without a broker.
fn alone<F, T>(
    name: &str,
    scratch: PathBuf,
    work: impl FnOnce(Ring) -> F + Send + 'static,
) -> Result<T, RunError>
where
    F: Future<Output = Result<T, RunError>> + 'static,
    T: Send + 'static,
{
    millstream_ring::probe().map_err(StartError::from)?;
    limits::raise_open_files(1).map_err(StartError::from)?;
    die_together();
    let options = CoreOptions {
        cpu: None,
        name: name.to_owned(),
        entries: RING_ENTRIES,
        scratch_dirs: vec![scratch],
    };
    let core = millstream_ring::start(options, work);
    match core.map_err(StartError::Thread)?.join() {
        Ok(outcome) => outcome,
        Err(_) => std::process::abort(),
    }
}
