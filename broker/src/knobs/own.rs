//! Settings that only exist here: one row per knob. No prefix; Kafka has none of these names.

use super::{Knob, Live, Scope, Type, Use, Valid};

/// Settings that only exist here.
pub(super) const OWN: &[Knob] = super::rows! { broker:
    // name                                type    default      valid         live    use    sentence
    "cores"                                String  null         _             restart obeyed "Cores to run on, as 0,2-7; all that the process may use when not set.";
    "journal.file.bytes"                   Long    "67108864"   [4194304 ..]  restart obeyed "Size of one journal file. A batch may be half as large: for a message.max.bytes above that, as of the start, files are larger; what a topic allows beyond is refused with RECORD_LIST_TOO_LARGE.";
    "journal.files"                        Int     "4"          [3 .. 64]     restart obeyed "Journal files for each core and data directory; smaller where journal.device.max.bytes says so.";
    "journal.device.max.bytes"             Long    "1073741824" [4194304 ..]  restart obeyed "Bytes of all journals in one data directory together, more only where message.max.bytes needs it (journal.file.bytes): up to this they grow while thousands of partitions are written a little each, and a core's up to 384 MiB, which a start after a crash reads within a second or so.";
    "memory.bytes"                         Long    "-1"         [-1 ..]       restart obeyed "Memory of the process: logs' newest bytes, requests and replies have their shares of it; -1 for the control group's limit or the machine's.";
    "tail.memory.bytes"                    Long    "-1"         [-1 ..]       restart obeyed "Memory for the newest bytes of all logs, and in a sixteenth of it for what readers of older ones want next, shared out over the cores; -1 for a quarter of the memory.";
    "log.dir.reserve.bytes"                Long    "-1"         [-1 ..]       restart obeyed "Free space of a data directory below which produce is refused; -1 for 1 GiB or 1 % of the disk, within a tenth of it.";
    "log.dir.lock.wait.ms"                 Long    "10000"      [0 ..]        restart obeyed "How long start waits for the last writes of a process that was killed.";
    "log.files.open.max"                   Int     "1000"       [16 ..]       restart obeyed "Segment files that one core keeps open.";
    "log.scrub.bytes.per.second"           Long   "1048576"    [0 ..]        restart obeyed "How fast each core reads its sealed segments in the background, once a week, to find damage before a consumer does; 0 for never.";
    "connection.requests.max"              Int     "100"        [1 ..]        restart obeyed "Requests of one connection that may be in work; past that the connection is not read.";
    "connection.responses.max.bytes"       Long    "8388608"    [1048576 ..]  restart obeyed "Response bytes waiting for one connection; past that the connection is not read.";
    "metrics.listener"                     String  null         _             restart obeyed "Where Prometheus reads metrics, as 127.0.0.1:9404: /metrics over HTTP, to everyone who reaches it; not opened when not set.";
    "record.validation"                    String  "batch"      {"batch" "deep"} cluster obeyed "What is checked of a produced batch: its header, checksum and, uncompressed, its records; deep opens compressed ones, too.";
};
