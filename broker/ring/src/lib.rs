//! The io_uring data plane of Millstream: one thread, one glommio executor and one ring for each core.
//!
//! # Map
//!
//! - [`core`]: a pinned thread with executor and ring ([`start`]); [`probe`] asks first whether that works here
//! - [`Ring`]: tasks, time, and the driver that submits and collects, one system call a turn
//! - [`Buffer`], [`Bytes`], [`Block`]: memory the kernel can be given
//! - [`File`], [`fs`], [`DirLock`]: the disk
//! - [`Listener`], [`Socket`]: the network
//! - [`mailbox`]: messages between cores; [`Turns`]: a few at a time within one
//! - `sim`: a simulated disk and core, for tests, behind the feature `simulation`
//!
//! # The contract of buffers
//!
//! The kernel reads and writes memory long after a call has returned. So every operation *owns* what the
//! kernel may touch (buffers, gather lists, paths, addresses, the descriptor) from the moment it is queued
//! until its completion arrives, whatever becomes of the future. A receive takes a [`Buffer`] and gives it
//! back; a write takes [`Bytes`], which are immutable and counted. Nothing is borrowed across an await.
//!
//! # The contract of cancellation
//!
//! Any future here may be dropped at any time, and memory stays sound. What that means for the operation:
//!
//! | dropped | happens |
//! |---|---|
//! | write, sync, allocate, rename, unlink, … | it completes, unseen |
//! | open, accept | taken back, or its descriptor is closed |
//! | receive, send, connect, signal | taken back if it still waits; bytes may have moved: give the connection up |
//! | mailbox receive | no message is lost |
//! | mailbox send | the message is dropped, not sent |
//!
//! When a core ends, its tasks are dropped and it waits for the kernel; memory that the kernel does not give
//! back (a core that panicked) is leaked, never reused.
//!
//! # What tasks must know
//!
//! - A core runs one task at a time until it awaits. After about a millisecond of computing, `yield_now`.
//! - An idle core sleeps until something completes or a timer is due.
//! - Only buffers, bytes, blocks and mesh ends may leave the thread.
//! - A process that waits for signals calls [`block_signals`] before it starts the first core.
//!
//! Deliberately absent: multishot receives (an extra copy), zero-copy send (slower on loopback, and pages
//! of a tail must not change hands), registered buffers and direct descriptors (nothing gained, measured).

pub mod core;
pub mod fs;
pub mod mailbox;
#[cfg(feature = "simulation")]
pub mod sim;

mod address;
mod arena;
mod buffer;
mod driver;
mod file;
mod gather;
mod heap;
mod idle;
mod lock;
mod op;
mod path;
mod probe;
mod queues;
mod ring;
mod signal;
mod socket;
mod timers;
mod turns;

pub use crate::core::{CoreOptions, CoreThread, allowed_cpus, block_on, start};
pub use buffer::{BLOCK, Block, Buffer, Bytes};
pub use file::{File, Open};
pub use heap::MemoryKeeper;
pub use lock::DirLock;
pub use mailbox::{Mailbox, MeshEnd, mesh};
pub use probe::{Denied, probe, probe_for};
pub use ring::Ring;
pub use signal::block_signals;
pub use socket::{ListenOptions, Listener, Socket, check_free};
pub use turns::{Turn, Turns};
