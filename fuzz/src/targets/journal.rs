//! The journal's files as recovery walks them, and the items of the entries that count.

use millstream_storage::fuzzing;

use super::Target;

pub const TARGET: Target = Target {
    name: "journal",
    seeds: fuzzing::journal_seeds,
    run: fuzzing::journal,
};
