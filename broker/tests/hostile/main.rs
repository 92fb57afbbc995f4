//! Hostile and broken clients against the real broker process: each hurts itself alone.
//!
//! | file | who |
//! |---|---|
//! | `beside` | none of them, but a healthy producer beside them |
//! | `lengths` | claims of lengths and counts that no bytes stand behind |
//! | `stuck` | peers that stop in the middle |
//! | `bombs` | batches of a megabyte that unpack to a gigabyte |
//! | `floods` | thousands of peers; the limits on connections; a ceiling over all memory |
//! | `ids` | names without end |
//! | `ceiling` | all of them at once in a memory cgroup |
//! | `frames` | valid frames, changed a little, by the hundred thousand |

#[path = "../harness/mod.rs"]
mod harness;

mod beside;
mod bombs;
mod ceiling;
mod floods;
mod frames;
mod ids;
mod lengths;
mod stuck;

const MIB: usize = 1 << 20;
