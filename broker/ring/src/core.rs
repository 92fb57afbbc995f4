//! A core: one pinned thread with a glommio executor and a ring in it.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use glommio::{Latency, LocalExecutor, LocalExecutorBuilder, Placement, Shares};

use crate::queues::Setup;
use crate::ring::Ring;

/// glommio's preempt tick: never. One that ends before the first task of a round has run (this thread was off its processor
/// for as long, say) makes glommio 0.9 take that for "nothing can run" and park, with whatever could, until an event of its
/// own comes; and there is none. Nothing here needs the tick: see [`Ring::yield_now`].
const PREEMPT_TICK: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Registered memory of glommio's own I/O, which is nearly unused here: its least. All of it is resident,
/// and counts three times against RLIMIT_MEMLOCK (once for each of its rings; the default is 10 MiB).
const GLOMMIO_MEMORY: usize = 64 << 10;
const DATA_SHARES: usize = 1000;
const BACKGROUND_SHARES: usize = 50;
/// How long the end of a core waits for operations still in the kernel.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// The write-only file that turns glommio's busy poll ring off; see [`quiet_poll_ring`].
const POLL_RING_FILE: &str = ".poll-ring";
/// How many there have been in this process.
static POLL_RING_FILES: AtomicU64 = AtomicU64::new(0);

/// How to start a core.
#[derive(Clone, Debug)]
pub struct CoreOptions {
    /// The CPU to pin the thread and the kernel's workers to; `None` leaves them free (tests).
    pub cpu: Option<usize>,
    /// The thread's name; Linux shows its first 15 bytes.
    pub name: String,
    /// Entries of the submission queue, rounded up to a power of two, 64 to 8192. More operations than
    /// that may be in flight; this bounds how many enter the kernel at once.
    pub entries: u32,
    /// One writable directory for each device that glommio may see files of.
    pub scratch_dirs: Vec<PathBuf>,
}

impl Default for CoreOptions {
    fn default() -> CoreOptions {
        CoreOptions {
            cpu: None,
            name: "core".into(),
            entries: 1024,
            scratch_dirs: Vec::new(),
        }
    }
}

/// Starts a thread with executor and ring, and runs `main` in it to its end.
///
/// When `main` is done its other tasks are dropped, operations in flight are waited for, and the thread
/// ends with `main`'s value. A panic in any task ends the thread with that panic.
///
/// # Errors
/// The thread, the pinning or the ring was refused; [`crate::probe`] explains the last.
pub fn start<F, Fut, T>(options: CoreOptions, main: F) -> io::Result<CoreThread<T>>
where
    F: FnOnce(Ring) -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let (report, reported) = mpsc::sync_channel(1);
    let thread = Builder::new().name(options.name.clone()).spawn(move || {
        let prepared = prepare(&options);
        let (setup, executor) = match prepared {
            Ok(prepared) => {
                let _ = report.send(Ok(()));
                prepared
            }
            Err(e) => {
                let _ = report.send(Err(e));
                return None;
            }
        };
        Some(run(setup, executor, options.scratch_dirs, main))
    })?;
    match reported.recv() {
        Ok(Ok(())) => {}
        Ok(Err(e)) => return Err(e),
        Err(_) => return Err(io::Error::other("the core's thread died while it started")),
    }
    Ok(CoreThread(thread))
}

/// A running core.
#[derive(Debug)]
pub struct CoreThread<T>(JoinHandle<Option<T>>);

impl<T> CoreThread<T> {
    /// Waits for the end of `main` and of the thread.
    ///
    /// # Errors
    /// The panic that ended the core, as [`JoinHandle::join`] has it.
    pub fn join(self) -> std::thread::Result<T> {
        self.0
            .join()
            .map(|value| value.expect("a core that started has a value"))
    }

    /// True when the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

/// [`start`] with default options, and joins: for tests.
///
/// # Panics
/// When the core cannot be started, and with the panic of `main`.
pub fn block_on<F, Fut, T>(main: F) -> T
where
    F: FnOnce(Ring) -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let thread = start(CoreOptions::default(), main).expect("io_uring is available");
    match thread.join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The CPUs the calling thread may run on, in ascending order: called from `main`, the process's cpuset.
pub fn allowed_cpus() -> Vec<usize> {
    let mut cpus: Vec<usize> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .into_iter()
        .map(|core| core.id)
        .collect();
    cpus.sort_unstable();
    cpus
}

fn prepare(options: &CoreOptions) -> io::Result<(Setup, LocalExecutor)> {
    if let Some(cpu) = options.cpu
        && !core_affinity::set_for_current(core_affinity::CoreId { id: cpu })
    {
        return Err(io::Error::other(format!(
            "CPU {cpu} is not in this process's cpuset"
        )));
    }
    let setup = Setup::new(options.entries, options.cpu)?;
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .name(&options.name)
        .io_memory(GLOMMIO_MEMORY)
        .preempt_timer(PREEMPT_TICK)
        .make()
        .map_err(|e| io::Error::other(e.to_string()))?;
    Ok((setup, executor))
}

fn run<F, Fut, T>(setup: Setup, executor: LocalExecutor, scratch_dirs: Vec<PathBuf>, main: F) -> T
where
    F: FnOnce(Ring) -> Fut,
    Fut: Future<Output = T> + 'static,
    T: 'static,
{
    executor.run(async move {
        for dir in &scratch_dirs {
            quiet_poll_ring(dir).await;
        }
        let queue = |shares, name| {
            let shares = Shares::Static(shares);
            glommio::executor().create_task_queue(shares, Latency::NotImportant, name)
        };
        let data = queue(DATA_SHARES, "data");
        let background = queue(BACKGROUND_SHARES, "background");
        let ring = Ring::new(setup, data, background);
        let (future, ended) = (main(ring.clone()), ring.clone());
        let life = async move {
            let value = future.await;
            ended.end(END_PATIENCE).await;
            value
        };
        glommio::spawn_local_into(ring.counted(Box::pin(life)), data)
            .expect("the queue was just made")
            .await
    })
}

/// Makes glommio forget its poll ring for the device under `dir`: it burns a whole core. A file that was
/// opened for writing alone is never polled, and glommio remembers that for the device. Best effort:
/// where no file can be made, none will be opened through glommio either.
async fn quiet_poll_ring(dir: &Path) {
    // Of its own for each core and process: glommio panics when the file is gone before it has looked at it.
    let number = POLL_RING_FILES.fetch_add(1, Ordering::Relaxed);
    let path = dir.join(format!("{POLL_RING_FILE}-{}-{number}", std::process::id()));
    if let Ok(file) = glommio::io::DmaFile::create(&path).await {
        let _ = file.close().await;
    }
    let _ = std::fs::remove_file(&path);
}
