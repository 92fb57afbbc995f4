//! The percentile table that HdrHistogram's tools plot (`.hgrm`), in milliseconds.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

/// Steps for each halving of the distance to 100 %.
const STEPS: u32 = 5;
const MS: f64 = 1e6;

/// The table of latencies in nanoseconds.
pub fn text(latency_ns: &Histogram<u64>) -> String {
    let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let mut total = 0;
    // Writing to a string cannot fail, here and below.
    for value in latency_ns.iter_quantiles(STEPS) {
        total += value.count_since_last_iteration();
        let quantile = value.quantile_iterated_to();
        let reached = value.value_iterated_to() as f64 / MS;
        let _ = match quantile < 1.0 {
            true => writeln!(
                text,
                "{reached:12.3} {quantile:14.12} {total:10} {:14.2}",
                1.0 / (1.0 - quantile)
            ),
            false => writeln!(text, "{reached:12.3} {quantile:14.12} {total:10}"),
        };
    }
    let _ = writeln!(
        text,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n#[Max     = {:12.3}, Total count    = {:12}]\n#[Buckets = {:12}, SubBuckets     = {:12}]",
        latency_ns.mean() / MS,
        latency_ns.stdev() / MS,
        latency_ns.max() as f64 / MS,
        latency_ns.len(),
        latency_ns.buckets(),
        2048,
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_ends_at_the_maximum_and_counts_all() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        for ms in 1..=1000u64 {
            histogram.record(ms * 1_000_000).unwrap();
        }
        let text = text(&histogram);
        let last = text.lines().rfind(|line| !line.starts_with('#')).unwrap();
        let fields: Vec<&str> = last.split_whitespace().collect();
        assert_eq!(&fields[1..], ["1.000000000000", "1000"]);
        let median = text
            .lines()
            .find(|line| line.contains(" 0.500000000000 "))
            .unwrap();
        assert!(median.trim_start().starts_with("500."), "{median}");
    }
}
