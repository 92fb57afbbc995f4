//! The cores' numbers as OpenMetrics text, which Prometheus reads.

use std::fmt;
use std::sync::Arc;

use millstream_protocol::api;
use millstream_protocol::error::ErrorCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::{CODES, CoreMetrics, DirMetrics, Number, Numbers};

/// A number of each core: name, what it is, kind, and where it stands. Counters get `_total`.
type Row<T> = (&'static str, &'static str, Kind, fn(&T) -> &Number);

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}
use Kind::{Counter, Gauge};

const CORE: &[Row<CoreMetrics>] = &[
    ("connections", "Open connections", Gauge, |m| &m.connections),
    (
        "connections_accepted",
        "Connections that came in",
        Counter,
        |m| &m.connections_accepted,
    ),
    (
        "connections_moved",
        "Connections that moved to the core of the partitions they produce to",
        Counter,
        |m| &m.connections_moved,
    ),
    (
        "received_bytes",
        "Bytes received from clients",
        Counter,
        |m| &m.received_bytes,
    ),
    ("sent_bytes", "Bytes sent to clients", Counter, |m| {
        &m.sent_bytes
    }),
    (
        "produced_batches",
        "Batches taken from producers; a repeated one counts again",
        Counter,
        |m| &m.produced_batches,
    ),
    ("produced_records", "Records in them", Counter, |m| {
        &m.produced_records
    }),
    ("produced_bytes", "Bytes of them", Counter, |m| {
        &m.produced_bytes
    }),
    (
        "fetched_bytes",
        "Bytes of batches given to fetches",
        Counter,
        |m| &m.fetched_bytes,
    ),
    (
        "requests_memory_bytes",
        "Memory of requests that come in or are at work",
        Gauge,
        |m| &m.requests_memory,
    ),
    (
        "requests_memory_max_bytes",
        "How much of it there may be before connections are not read",
        Gauge,
        |m| &m.requests_memory_max,
    ),
    (
        "replies_memory_bytes",
        "Memory of replies that are made or on their way",
        Gauge,
        |m| &m.replies_memory,
    ),
    (
        "replies_memory_max_bytes",
        "How much of it there may be before requests wait",
        Gauge,
        |m| &m.replies_memory_max,
    ),
    (
        "tail_memory_bytes",
        "Memory of the newest bytes of logs",
        Gauge,
        |m| &m.tail_memory,
    ),
    (
        "tail_memory_max_bytes",
        "How much of it there may be",
        Gauge,
        |m| &m.tail_memory_max,
    ),
    (
        "unsettled_bytes",
        "Bytes that only the journal holds",
        Gauge,
        |m| &m.unsettled_bytes,
    ),
    ("partitions", "Partitions", Gauge, |m| &m.partitions),
    (
        "partitions_offline",
        "Partitions whose data directory is offline",
        Gauge,
        |m| &m.partitions_offline,
    ),
    (
        "scrub_passes",
        "Passes of the background scrub that came to their end",
        Counter,
        |m| &m.scrub_passes,
    ),
    ("scrubbed_segments", "Segments it has read", Counter, |m| {
        &m.scrubbed_segments
    }),
    ("scrubbed_bytes", "Bytes it has read", Counter, |m| {
        &m.scrubbed_bytes
    }),
    (
        "scrub_findings",
        "Damaged places it has found; each is named in the log",
        Counter,
        |m| &m.scrub_findings,
    ),
];

/// Of each core in each data directory.
const DIRECTORY: &[Row<DirMetrics>] = &[
    (
        "journal_bytes",
        "Bytes written to the journal",
        Counter,
        |m| &m.journal_bytes,
    ),
    (
        "flushes",
        "Flushes that released appends: of an entry of the journal, or of all that was written until then",
        Counter,
        |m| &m.flushes,
    ),
    (
        "direct_bytes",
        "Bytes of large appends that went straight to their segments",
        Counter,
        |m| &m.direct_bytes,
    ),
    (
        "settled_bytes",
        "Bytes that went from the journal to their segments",
        Counter,
        |m| &m.settled_bytes,
    ),
    (
        "segment_read_bytes",
        "Bytes of records read from segments, since memory did not have them",
        Counter,
        |m| &m.read_bytes,
    ),
];

/// Of a data directory, which all cores see alike.
const DEVICE: &[Row<DirMetrics>] = &[
    (
        "directory_offline",
        "1 for a data directory that failed and takes nothing any more",
        Gauge,
        |m| &m.offline,
    ),
    (
        "directory_size_bytes",
        "Size of its file system",
        Gauge,
        |m| &m.total_bytes,
    ),
    (
        "directory_usable_bytes",
        "What of it may still be written",
        Gauge,
        |m| &m.usable_bytes,
    ),
];

/// All cores' numbers.
#[derive(Debug)]
pub(crate) struct Cores {
    cores: Arc<[CoreMetrics]>,
    /// Data directories, as configured.
    directories: Vec<String>,
}

/// What an exposition is made of.
pub(crate) fn registry(cores: Arc<[CoreMetrics]>, directories: Vec<String>) -> Registry {
    let mut registry = Registry::with_prefix("millstream");
    registry.register_collector(Box::new(Cores { cores, directories }));
    registry
}

/// The text of one scrape.
pub(crate) fn encode(registry: &Registry) -> Result<String, fmt::Error> {
    let mut out = String::new();
    text::encode(&mut out, registry)?;
    Ok(out)
}

impl Collector for Cores {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        encoder
            .encode_descriptor("build", "What runs", None, MetricType::Info)?
            .encode_info(&version)?;
        for row in CORE {
            self.by_core(&mut encoder, row)?;
        }
        self.requests(&mut encoder)?;
        self.errors(&mut encoder)?;
        for row in DIRECTORY {
            self.by_directory(&mut encoder, row)?;
        }
        DEVICE
            .iter()
            .try_for_each(|row| self.of_device(&mut encoder, row))
    }
}

impl Cores {
    fn numbered(&self) -> impl Iterator<Item = (String, &CoreMetrics)> {
        let numbers = (0..self.cores.len()).map(|core| core.to_string());
        numbers.zip(self.cores.iter())
    }

    fn by_core(&self, encoder: &mut DescriptorEncoder<'_>, row: &Row<CoreMetrics>) -> fmt::Result {
        let mut family = describe(encoder, row)?;
        for (core, metrics) in self.numbered() {
            let labels = [("core", core.as_str())];
            sample(family.encode_family(&labels)?, row.2, (row.3)(metrics))?;
        }
        Ok(())
    }

    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = MetricType::Counter;
        let mut family = encoder.encode_descriptor("requests", "Requests by API", None, kind)?;
        for (core, metrics) in self.numbered() {
            for (key, count) in metrics.requests.counted() {
                let api = api::row(key).map_or("unknown", |row| row.name);
                let labels = [("core", core.as_str()), ("api", api)];
                counter(family.encode_family(&labels)?, count)?;
            }
        }
        Ok(())
    }

    fn errors(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Of = fn(&CoreMetrics) -> &Numbers<CODES>;
        const OF: [(&str, Of); 2] = [
            ("Produce", |m| &m.produce_errors),
            ("Fetch", |m| &m.fetch_errors),
        ];
        let help = "Partitions of requests that were answered with an error";
        let kind = MetricType::Counter;
        let mut family = encoder.encode_descriptor("partition_errors", help, None, kind)?;
        for (core, metrics) in self.numbered() {
            for (api, numbers) in OF {
                for (code, count) in numbers(metrics).counted() {
                    let error = ErrorCode::from_code(code).map_or("unknown", ErrorCode::name);
                    let labels = [("core", core.as_str()), ("api", api), ("error", error)];
                    counter(family.encode_family(&labels)?, count)?;
                }
            }
        }
        Ok(())
    }

    fn by_directory(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        row: &Row<DirMetrics>,
    ) -> fmt::Result {
        let mut family = describe(encoder, row)?;
        for (core, metrics) in self.numbered() {
            for (directory, metrics) in self.directories.iter().zip(&metrics.directories) {
                let labels = [("core", core.as_str()), ("directory", directory.as_str())];
                sample(family.encode_family(&labels)?, row.2, (row.3)(metrics))?;
            }
        }
        Ok(())
    }

    fn of_device(&self, encoder: &mut DescriptorEncoder<'_>, row: &Row<DirMetrics>) -> fmt::Result {
        let mut family = describe(encoder, row)?;
        let first = self.cores.iter().take(1).flat_map(|core| &core.directories);
        for (directory, metrics) in self.directories.iter().zip(first) {
            let labels = [("directory", directory.as_str())];
            sample(family.encode_family(&labels)?, row.2, (row.3)(metrics))?;
        }
        Ok(())
    }
}

fn describe<'e, T>(
    encoder: &'e mut DescriptorEncoder<'_>,
    (name, help, kind, _): &'e Row<T>,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    let kind = match kind {
        Counter => MetricType::Counter,
        Gauge => MetricType::Gauge,
    };
    encoder.encode_descriptor(name, help, None, kind)
}

fn sample(mut encoder: MetricEncoder<'_>, kind: Kind, number: &Number) -> fmt::Result {
    match kind {
        Counter => counter(encoder, number.get()),
        Gauge => encoder.encode_gauge(&number.get()),
    }
}

fn counter(mut encoder: MetricEncoder<'_>, value: u64) -> fmt::Result {
    encoder.encode_counter::<NoLabelSet, u64, u64>(&value, None)
}
