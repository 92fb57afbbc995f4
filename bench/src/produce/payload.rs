//! The batches of a run, built before the clock starts.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use millstream_protocol::batch::{BatchBuilder, BatchHeader, HEADER};
use millstream_protocol::compress::Codec;
use millstream_ring::Bytes;

use crate::Fault;

/// Different batches of a run whose records differ: enough that keys and content spread.
const DIFFERENT_BATCHES: usize = 32;
/// Marks records of a run that measures from end to end; its number and the sending time follow.
pub const STAMP: usize = 16;

/// How keys are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Keys {
    /// Records have no keys.
    None,
    /// One after another.
    Sequential,
    /// All equally often.
    Uniform,
    /// The n-th key 1/n as often as the first.
    Zipf,
}

#[derive(clap::Args, Clone, Debug)]
pub struct PayloadOptions {
    /// Bytes of a record's value; less where not even one such record fits the batch.
    #[arg(long, default_value_t = 1024)]
    pub record_size: usize,
    /// Bytes of a batch, header included, before compression: as many records as fit.
    #[arg(long, default_value_t = 16 << 10)]
    pub batch_size: usize,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(long, default_value = "none", value_parser = codec)]
    pub codec: Codec,
    /// How keys are chosen. They do not choose the partition: connections serve theirs in turn.
    #[arg(long, value_enum, default_value_t = Keys::None)]
    pub keys: Keys,
    /// How many different keys.
    #[arg(long, default_value_t = 10_000)]
    pub key_count: usize,
    /// Values are successive pieces of this file, instead of random bytes.
    #[arg(long, value_name = "FILE")]
    pub payload_file: Option<PathBuf>,
}

fn codec(name: &str) -> Result<Codec, String> {
    Codec::from_name(name).ok_or_else(|| "none, gzip, snappy, lz4 or zstd expected".into())
}

/// One batch and what patching it needs.
#[derive(Clone)]
pub struct Batch {
    pub header: BatchHeader,
    /// All of it, header first.
    pub bytes: Bytes,
    /// CRC-32C of what follows the header.
    pub records_crc: u32,
    /// Where the first record's value begins, in batches that are stamped.
    pub stamp_at: Option<usize>,
}

/// The batches that a run sends in turn. With `stamped` every value begins with room for a stamp.
pub fn build(options: &PayloadOptions, stamped: bool) -> Result<Vec<Batch>, Fault> {
    let mut values = Values::new(options, stamped)?;
    let mut keys = KeySource::new(options);
    let alike = options.keys == Keys::None && options.payload_file.is_none();
    let count = if alike { 1 } else { DIFFERENT_BATCHES };
    (0..count)
        .map(|_| batch(options, &mut values, &mut keys, stamped))
        .collect()
}

fn batch(
    options: &PayloadOptions,
    values: &mut Values,
    keys: &mut KeySource,
    stamped: bool,
) -> Result<Batch, Fault> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let mut builder = BatchBuilder::new(options.codec, now);
    let mut size = options.record_size;
    loop {
        let (key, value) = (keys.next(), values.next(size));
        let mut one = BatchBuilder::new(Codec::None, now);
        one.push(now, key.as_deref(), Some(value), &[]);
        // Offset deltas and lengths grow by a byte or two in a long batch.
        let fits = builder.size() + one.size() - HEADER + VARINT_GROWTH <= options.batch_size;
        if fits || (builder.record_count() == 0 && one.size() <= options.batch_size) {
            builder.push(now, key.as_deref(), Some(value), &[]);
        } else if builder.record_count() > 0 {
            break;
        } else if size > if stamped { STAMP } else { 0 } {
            size -= 1;
        } else {
            return Err(format!("no record fits a batch of {} bytes", options.batch_size).into());
        }
    }
    let bytes = builder.finish(0);
    let header = BatchHeader::read(&bytes)?;
    let first_key = keys.first_len();
    Ok(Batch {
        header,
        records_crc: crc32c::crc32c(&bytes[HEADER..]),
        stamp_at: stamped.then(|| first_value_at(&bytes, first_key)),
        bytes: Bytes::from(bytes),
    })
}

/// Bytes by which a record may be longer in a batch than alone: four each for offset delta and length.
const VARINT_GROWTH: usize = 8;

/// Where the first record's value begins: behind length, attributes, two deltas, the key and two lengths, all varints.
fn first_value_at(batch: &[u8], key_len: usize) -> usize {
    let varint = |at: usize| 1 + batch[at..].iter().take_while(|byte| **byte >= 0x80).count();
    let mut at = HEADER;
    at += varint(at) + 1; // length; attributes
    at += varint(at); // timestamp delta
    at += varint(at); // offset delta
    at += varint(at) + key_len; // key
    at + varint(at) // value's length
}

/// Where values come from.
struct Values {
    content: Vec<u8>,
    at: usize,
}

impl Values {
    fn new(options: &PayloadOptions, stamped: bool) -> Result<Values, Fault> {
        let mut content = match &options.payload_file {
            Some(path) => {
                std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?
            }
            // Records differ, or a codec would find them alike.
            None => noise(options.record_size + options.batch_size),
        };
        if content.is_empty() && options.record_size > 0 {
            return Err("the payload file is empty".into());
        }
        if stamped && options.record_size < STAMP {
            return Err(format!("--record-size must be at least {STAMP}, for the time").into());
        }
        // Any piece is there in one slice.
        let once = content.len();
        while content.len() < once + options.record_size {
            content.extend_from_within(..once.min(options.record_size));
        }
        Ok(Values { content, at: 0 })
    }

    fn next(&mut self, size: usize) -> &[u8] {
        let last = self.content.len() - size;
        let at = if self.at > last { 0 } else { self.at };
        self.at = at + size;
        &self.content[at..at + size]
    }
}

/// Where keys come from.
struct KeySource {
    keys: Keys,
    count: usize,
    next: usize,
    random: Random,
    /// Sums of 1/n up to each key.
    zipf: Vec<f64>,
}

impl KeySource {
    fn new(options: &PayloadOptions) -> KeySource {
        let count = options.key_count.max(1);
        let mut sum = 0.0;
        let ranks = if options.keys == Keys::Zipf { count } else { 0 };
        let zipf = (1..=ranks).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        KeySource {
            keys: options.keys,
            count,
            next: 0,
            zipf: zipf.collect(),
            random: Random::new(),
        }
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let number = match self.keys {
            Keys::None => return None,
            Keys::Sequential => {
                self.next += 1;
                (self.next - 1) % self.count
            }
            Keys::Uniform => self.random.next() as usize % self.count,
            Keys::Zipf => {
                let total = self.zipf.last().copied().unwrap_or(1.0);
                let drawn = self.random.fraction() * total;
                self.zipf.partition_point(|sum| *sum < drawn)
            }
        };
        Some(format!("{number:0KEY_LEN$}").into_bytes())
    }

    /// All keys are equally long, the first record's too.
    fn first_len(&self) -> usize {
        match self.keys {
            Keys::None => 0,
            _ => KEY_LEN,
        }
    }
}

/// Digits of a key.
const KEY_LEN: usize = 10;

/// Bytes that a disk or codec cannot make smaller than they are, the same in every run.
pub fn noise(len: usize) -> Vec<u8> {
    let mut random = Random::new();
    (0..len).map(|_| random.next() as u8).collect()
}

/// xorshift64, with a fixed seed: runs are alike.
struct Random(u64);

impl Random {
    fn new() -> Random {
        Random(0x2545_f491_4f6c_dd1d)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From 0 to below 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use millstream_protocol::batch::{records, verify_crc};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: PayloadOptions,
    }

    fn options(line: &str) -> PayloadOptions {
        Cli::parse_from(line.split(' ')).options
    }

    #[test]
    fn batches_fill_the_size_asked_for() {
        for (line, size, record) in [
            ("b --batch-size 1024", 1024, 1024),
            ("b --batch-size 16384 --record-size 100", 16384, 100),
            ("b --batch-size 1048000 --record-size 1024", 1_048_000, 1024),
        ] {
            let batch = &build(&options(line), false).unwrap()[0];
            assert!(verify_crc(&batch.bytes));
            // What is left would not have held one more record.
            let len = batch.bytes.len();
            assert!(len <= size && len + record + 24 > size, "{line}: {len}");
        }
        assert!(build(&options("b --batch-size 61"), false).is_err());
    }

    #[test]
    fn keys_are_spread_as_asked() {
        let mut scratch = Vec::new();
        for (keys, at_least, at_most) in
            [("sequential", 50, 50), ("uniform", 30, 50), ("zipf", 5, 49)]
        {
            let line = format!("b --batch-size 4096 --record-size 10 --keys {keys} --key-count 50");
            let batches = build(&options(&line), false).unwrap();
            let read = records(&batches[0].bytes, &mut scratch, 1 << 20).unwrap();
            let mut seen: Vec<Vec<u8>> = read
                .map(|record| record.unwrap().key.unwrap().to_vec())
                .collect();
            let first = seen.iter().filter(|key| key.ends_with(b"00")).count();
            let all = seen.len();
            seen.sort();
            seen.dedup();
            assert!(
                (at_least..=at_most).contains(&seen.len()),
                "{keys}: {} of {all}",
                seen.len()
            );
            // The first of 50 keys: 22 % by Zipf.
            assert_eq!(keys == "zipf", first > all / 10, "{keys}: {first} of {all}");
        }
    }

    #[test]
    fn a_stamp_stands_at_the_first_value() {
        for keys in ["none", "uniform"] {
            let line = format!("b --batch-size 9000 --record-size 200 --keys {keys}");
            let batch = &build(&options(&line), true).unwrap()[0];
            let mut scratch = Vec::new();
            let first = records(&batch.bytes, &mut scratch, 1 << 20)
                .unwrap()
                .next()
                .unwrap()
                .unwrap();
            let at = batch.stamp_at.unwrap();
            assert_eq!(first.value.unwrap(), &batch.bytes[at..at + 200]);
        }
    }

    #[test]
    fn values_are_pieces_of_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"abcdefg").unwrap();
        let line = format!(
            "b --batch-size 100 --record-size 3 --payload-file {}",
            file.path().display()
        );
        let batch = &build(&options(&line), false).unwrap()[0];
        let mut scratch = Vec::new();
        let read = records(&batch.bytes, &mut scratch, 1 << 20).unwrap();
        let values: Vec<String> = read
            .map(|record| String::from_utf8_lossy(record.unwrap().value.unwrap()).into_owned())
            .collect();
        assert_eq!(&values[..3], ["abc", "def", "gab"]);
    }
}
