//! The report: one file that needs nothing else.

use std::fmt::Write as _;

use super::chart;
use super::results::{Comparison, Run, Summary, WorkloadResult, number};
use crate::Fault;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:1120px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:.6em 0}td,th{border:1px solid #ccc;padding:.25em .6em;text-align:right;vertical-align:top}
td:first-child,th:first-child{text-align:left}pre{background:#f5f5f5;padding:.6em;overflow:auto;font-size:13px}
h2{margin-top:2em;border-bottom:1px solid #ccc}.bad{color:#b00020}.charts{display:flex;flex-wrap:wrap;gap:8px}";

/// The whole page.
pub fn page(comparison: &Comparison) -> Result<String, Fault> {
    let mut page = String::new();
    let title = names(comparison).join(" and ");
    // Writing to a string cannot fail, here and below.
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{0}</title><style>{STYLE}</style><h1>{0}</h1>",
        escaped(&title)
    );
    let _ = write!(
        page,
        "<p>Each workload ran on each system in turn, round after round, on the same cores and the same disk. Figures are \
         medians of the rounds with the least and the greatest. Ratios are of each round, how many times better the first \
         system was.</p><p>This command repeats it: <code>{}</code></p>",
        escaped(&comparison.command)
    );
    summary(&mut page, comparison);
    lifecycle(&mut page, comparison);
    for workload in &comparison.workloads {
        section(&mut page, comparison, workload)?;
    }
    machine(&mut page, comparison)?;
    page += "</html>\n";
    Ok(page)
}

fn names(comparison: &Comparison) -> Vec<String> {
    let systems = comparison.systems.iter();
    systems.map(|system| system.name.clone()).collect()
}

fn summary(page: &mut String, comparison: &Comparison) {
    *page += "<h2>Summary</h2><table><tr><th>workload<th>";
    for name in names(comparison) {
        let _ = write!(page, "<th>{}", escaped(&name));
    }
    for name in names(comparison).iter().skip(1) {
        let _ = write!(page, "<th>against {}", escaped(name));
    }
    for workload in &comparison.workloads {
        let _ = write!(
            page,
            "<tr><td>{} {}<td>{}",
            escaped(&workload.name),
            escaped(&workload.what),
            workload.metric.unit()
        );
        for at in 0..comparison.systems.len() {
            let _ = write!(
                page,
                "<td>{}",
                spread(workload.summary(at, workload.metric))
            );
        }
        for at in 1..comparison.systems.len() {
            let _ = write!(page, "<td>{}", spread(Summary::of(workload.ratios(at))));
        }
    }
    *page += "</table>";
}

fn spread(summary: Option<Summary>) -> String {
    summary.map_or_else(
        || "–".into(),
        |Summary { median, min, max }| {
            format!(
                "<b>{}</b><br><small>{} to {}</small>",
                number(median),
                number(min),
                number(max)
            )
        },
    )
}

fn lifecycle(page: &mut String, comparison: &Comparison) {
    let _ = write!(
        page,
        "<h2>Start, restart, memory</h2><table><tr><th><th>start without data, s<th>restart after kill -9 with {} partitions, s\
         <th>memory after start, MiB<th>KiB for each idle connection",
        comparison.restart_partitions
    );
    for system in &comparison.systems {
        let shown = |value: Option<f64>| value.map_or_else(|| "–".into(), number);
        let mib = system
            .resident_after_start_bytes
            .map(|bytes| bytes as f64 / f64::from(1 << 20));
        let kib = system.bytes_per_idle_connection.map(|bytes| bytes / 1024.0);
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}",
            escaped(&system.name),
            shown(system.start_seconds),
            shown(system.restart_seconds),
            shown(mib),
            shown(kib)
        );
    }
    *page += "</table>";
}

fn section(
    page: &mut String,
    comparison: &Comparison,
    workload: &WorkloadResult,
) -> Result<(), Fault> {
    let _ = write!(
        page,
        "<h2>{} {}</h2><pre>{}</pre><div class=\"charts\">",
        escaped(&workload.name),
        escaped(&workload.what),
        escaped(&workload.command)
    );
    let names = names(comparison);
    *page += &chart::rounds(workload, &names)?;
    let curves = names.iter().enumerate().filter_map(|(at, name)| {
        let run = middle(workload, at)?.outcome()?;
        Some((name.clone(), chart::curve(&run.first.hgrm)))
    });
    *page += &chart::percentiles(&curves.collect::<Vec<_>>())?;
    *page += "</div>";
    figures(page, comparison, workload);
    faults(page, &names, workload);
    histograms(page, &names, workload);
    Ok(())
}

/// Medians of all that was measured.
fn figures(page: &mut String, comparison: &Comparison, workload: &WorkloadResult) {
    *page += "<table><tr><th><th>MB/s<th>requests/s<th>p50 ms<th>p99 ms<th>p99.99 ms<th>CPU s/GB<th>CPU µs/request<th>memory MiB<th>of the disk's roofline";
    for (at, name) in names(comparison).iter().enumerate() {
        let ms = |of: fn(&crate::report::LatencyNs) -> u64| {
            cell(workload.median(at, |outcome| {
                Some(of(&outcome.first.latency_ns) as f64 / 1e6)
            }))
        };
        let share = comparison.roofline.as_ref().and_then(|roofline| {
            let mb = workload.median(at, |outcome| Some(outcome.first.mb_per_second))?;
            Some(format!(
                "{:.0} %",
                100.0 * mb / roofline.flushed_mb_per_second()
            ))
        });
        let memory = workload.median(at, |outcome| {
            Some(outcome.broker?.resident_bytes as f64 / f64::from(1 << 20))
        });
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}",
            escaped(name),
            cell(workload.median(at, |outcome| Some(outcome.first.mb_per_second))),
            cell(workload.median(at, |outcome| Some(outcome.first.requests_per_second))),
            ms(|latency| latency.p50),
            ms(|latency| latency.p99),
            ms(|latency| latency.p99_99),
            cell(workload.median(at, |outcome| outcome.broker_cpu_seconds_per_gb)),
            cell(workload.median(at, |outcome| outcome.broker_cpu_us_per_request)),
            cell(memory),
            share.unwrap_or_else(|| "–".into()),
        );
    }
    *page += "</table>";
}

fn histograms(page: &mut String, names: &[String], workload: &WorkloadResult) {
    *page += "<details><summary>histograms of all rounds</summary>";
    for (name, runs) in names.iter().zip(&workload.runs) {
        for (round, run) in runs.iter().enumerate() {
            for part in run.outcome().iter().flat_map(|outcome| outcome.parts()) {
                let _ = write!(
                    page,
                    "<h4>{}, round {}, {}</h4><pre>{}</pre>",
                    escaped(name),
                    round + 1,
                    escaped(&part.part),
                    escaped(&part.hgrm)
                );
            }
        }
    }
    *page += "</details>";
}

fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), number)
}

/// The run whose figure is the median.
fn middle(workload: &WorkloadResult, system: usize) -> Option<&Run> {
    let mut runs: Vec<(f64, &Run)> = (workload.runs.get(system)?.iter())
        .filter_map(|run| Some((run.value(workload.metric)?, run)))
        .collect();
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    runs.get(runs.len() / 2).map(|(_, run)| *run)
}

/// What went wrong in any round: a figure with errors is no figure.
fn faults(page: &mut String, names: &[String], workload: &WorkloadResult) {
    for (name, runs) in names.iter().zip(&workload.runs) {
        for (round, run) in runs.iter().enumerate() {
            let what = match run {
                Run::Failed(fault) => fault.clone(),
                Run::Done(outcome) if outcome.is_clean() => {
                    match outcome.parts().map(|part| part.requests_behind).sum() {
                        0u64 => continue,
                        behind => {
                            format!("did not keep up: {behind} requests were due and had not left")
                        }
                    }
                }
                Run::Done(outcome) => {
                    let parts = outcome.parts();
                    let errors =
                        parts.map(|part| format!("{:?} {:?}", part.errors, part.connections_lost));
                    errors.collect::<Vec<_>>().join(", ")
                }
            };
            let _ = write!(
                page,
                "<p class=\"bad\">{}, round {}: {}</p>",
                escaped(name),
                round + 1,
                escaped(&what)
            );
        }
    }
}

fn machine(page: &mut String, comparison: &Comparison) -> Result<(), Fault> {
    *page += "<h2>Machine</h2><table>";
    for (name, value) in &comparison.machine {
        let _ = write!(page, "<tr><td>{}<td>{}", escaped(name), escaped(value));
    }
    *page += "</table>";
    if let Some(roofline) = &comparison.roofline {
        let _ = write!(
            page,
            "<h2>Roofline</h2><pre>{}</pre>",
            escaped(&serde_json::to_string_pretty(roofline)?)
        );
    }
    for system in &comparison.systems {
        let _ = write!(
            page,
            "<h2>Configuration: {}</h2><pre>{}</pre>",
            escaped(&system.name),
            escaped(&system.configuration)
        );
    }
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_page_is_taken_for_markup() {
        assert_eq!(escaped("<b> & c"), "&lt;b&gt; &amp; c");
    }
}
