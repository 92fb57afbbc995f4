//! What lies beside the segments: indexes, snapshots, checkpoints, the log table, names. The first byte chooses.

use millstream_storage::fuzzing;

use super::Target;

pub const TARGET: Target = Target {
    name: "small_files",
    seeds: fuzzing::small_file_seeds,
    run: fuzzing::small_file,
};
