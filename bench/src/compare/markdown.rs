//! The figures of a comparison as a table in Markdown, with the command that repeats it.

use std::fmt::Write as _;

use super::results::{Comparison, Row, Summary, SystemResult, WorkloadResult};
use super::results::{Role, number};
use super::scenarios::Metric;
use crate::report::Outcome;

/// One row for each workload: a column for each system and one for what ran beside them; then start, restart and memory.
pub fn table(comparison: &Comparison) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail, here and below.
    for (name, value) in &comparison.machine {
        let _ = writeln!(text, "- {name}: {value}");
    }
    if let Some(roofline) = &comparison.roofline {
        let (new, again, network) = (
            grouped(roofline.new_blocks_mb_per_second()),
            grouped(roofline.flushed_mb_per_second()),
            grouped(roofline.network_mb_per_second()),
        );
        let _ = writeln!(
            text,
            "- roofline: {new} MB/s written to new blocks, {again} MB/s written again and flushed, {network} MB/s over one \
             connection"
        );
    }
    let names = comparison.systems.iter().map(|system| system.name.as_str());
    let names: Vec<&str> = names.collect();
    let _ = writeln!(
        text,
        "\nMedians of the rounds, least to most in brackets; **ratios** are of each round, then the median.\n\n\
         | Load | {} | beside | CPU, in this order |\n|---|{}---|---|",
        names.join(" | "),
        "---|".repeat(names.len())
    );
    for workload in &comparison.workloads {
        load(&mut text, comparison, workload);
    }
    lifecycle(&mut text, comparison);
    let _ = writeln!(text, "\n    {}", comparison.command);
    let problems = comparison.problems();
    if !problems.is_empty() {
        text += "\nWhat has no figure, or a rate that was not kept:\n\n";
    }
    for problem in problems {
        let _ = writeln!(text, "- {}", problem.replace('\n', " "));
    }
    text
}

fn load(text: &mut String, comparison: &Comparison, workload: &WorkloadResult) {
    let _ = write!(text, "| {} {} |", workload.name, workload.what);
    let roofline = comparison.roofline.as_ref();
    let mut cpu = Vec::new();
    for system in &comparison.systems {
        let mut rows = workload.rows.iter().enumerate();
        let row = rows.find(|(_, row)| row.role == Role::System && row.system == system.name);
        let Some((at, row)) = row else {
            *text += "  |";
            continue;
        };
        let mut words = vec![figure(row)];
        let ratio = Summary::of(workload.ratios(at)).filter(|_| at > 0);
        words.extend(
            ratio.map(|Summary { median, min, max }| {
                format!("**{median:.2}x** ({min:.2}–{max:.2})")
            }),
        );
        words.extend(workload.notes(row, roofline));
        let _ = write!(text, " {} |", words.join("; "));
        cpu.push(cpu_of(row, workload.metric));
    }
    if let Some(row) = workload.beside() {
        let mut words = vec![format!("{}: {}", row.system, figure(row))];
        words.extend(workload.notes(row, roofline));
        let _ = write!(text, " {}", words.join("; "));
    }
    let unit = match workload.metric {
        Metric::MbPerSecond => "core s/GB",
        _ => "µs a request",
    };
    let _ = writeln!(text, " | {} {unit} |", cpu.join(" : "));
}

fn figure(row: &Row) -> String {
    let Some(Summary { median, min, max }) = row.summary() else {
        return "no figure".into();
    };
    let (median, min, max) = (grouped(median), grouped(min), grouped(max));
    let figure = format!("{median} {} ({min}–{max})", row.metric.unit());
    let p99 = |outcome: &Outcome| Some(outcome.first.latency_ns.p99 as f64 / 1e6);
    match (row.metric, row.median(p99)) {
        (Metric::RequestsPerSecond | Metric::P50Ms, Some(p99)) => {
            format!("{figure}, p99 {} ms", number(p99))
        }
        _ => figure,
    }
}

fn cpu_of(row: &Row, metric: Metric) -> String {
    let median = row.median(|outcome| match metric {
        Metric::MbPerSecond => outcome.broker_cpu_seconds_per_gb,
        _ => outcome.broker_cpu_us_per_request,
    });
    median.map_or_else(|| "–".into(), |value| format!("{value:.2}"))
}

type Figure = fn(&SystemResult) -> Option<f64>;

fn lifecycle(text: &mut String, comparison: &Comparison) {
    if !comparison.systems.iter().any(SystemResult::has_lifecycle) {
        return;
    }
    let restart = format!(
        "restart after kill -9 with {} partitions, to the first acknowledged record",
        comparison.restart_partitions
    );
    let rows: [(&str, &str, Figure); 4] = [
        (
            "W12 start without data, to the first answer",
            "s",
            |system| system.start_seconds,
        ),
        (&format!("W12 {restart}"), "s", |system| {
            system.restart_seconds
        }),
        (
            "W13 resident after start",
            "MiB",
            SystemResult::resident_after_start_mib,
        ),
        (
            "W13 an idle connection",
            "KiB",
            SystemResult::kib_per_idle_connection,
        ),
    ];
    for (what, unit, of) in rows {
        let figures = comparison.systems.iter().map(of);
        let figures: Vec<Option<f64>> = figures.collect();
        if figures.iter().all(Option::is_none) {
            continue;
        }
        let _ = write!(text, "| {what} |");
        for figure in figures {
            let _ = match figure {
                Some(value) => write!(text, " {} {unit} |", number(value)),
                None => write!(text, " – |"),
            };
        }
        *text += "  |  |\n";
    }
}

/// With a comma for each thousand.
fn grouped(value: f64) -> String {
    let plain = number(value);
    let digits = plain.bytes().take_while(u8::is_ascii_digit).count();
    let mut text = String::new();
    for (at, digit) in plain.chars().enumerate() {
        if at > 0 && at < digits && (digits - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_have_a_comma() {
        for (value, text) in [
            (0.25, "0.250"),
            (12.0, "12.0"),
            (999.0, "999"),
            (1489.2, "1,489"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(grouped(value), text);
        }
    }
}
