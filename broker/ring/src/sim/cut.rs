//! A moment at which the power may fail.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::disk::Disk;
use super::op::Request;

/// Called at each moment at which a power cut would leave something new.
pub type OnCut = Box<dyn FnMut(Cut)>;

/// Where the operation stands that makes this moment a new one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// On its way: a power cut now is *inside* it.
    Started,
    /// Done, and nobody knows it yet.
    Done,
}

/// A moment at which the power may fail.
pub struct Cut {
    /// Counts these moments in one run.
    pub number: u64,
    /// Before or after the operation's effect.
    pub stage: Stage,
    /// The operation, for messages.
    pub what: String,
    pub(super) disk: Disk,
    /// Operations on their way.
    pub(super) flying: Vec<Request>,
}

impl Cut {
    /// The disk after a power cut at this moment, as `seed` chooses: each operation on its way has happened or not, and
    /// what no sync covers is there, lost or torn.
    pub fn disk(&self, seed: u64) -> Disk {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut disk = self.disk.clone();
        let mut flying: Vec<&Request> = self.flying.iter().collect();
        flying.shuffle(&mut rng);
        for request in flying {
            if rng.random() {
                // One that fails, or that an earlier one made impossible, did not happen.
                let _ = request.apply(&mut disk);
            }
        }
        disk.crash(&mut rng)
    }

    /// The disk as the running program sees it: what a process leaves that is killed, with all that was on its way.
    pub fn killed(&self) -> Disk {
        let mut disk = self.disk.clone();
        for request in &self.flying {
            let _ = request.apply(&mut disk);
        }
        disk.settled()
    }
}
