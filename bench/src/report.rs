//! What was measured, and how it is shown.

mod counts;
mod hgrm;
mod outcome;
mod process;

pub use counts::{Counts, Live, Tally};
pub use outcome::{LatencyNs, Measured, Outcome, Part, outcome, publish};
pub use process::{MIB, Process, congestion_control};
