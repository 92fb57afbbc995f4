//! What was measured, and how it is shown.

mod counts;
mod hgrm;
mod outcome;
mod process;

pub use counts::{Counts, Live, Tally};
pub use outcome::{LatencyNs, Measured, Outcome, outcome, publish};
pub use process::{Process, congestion_control};
