//! The report: one file that needs nothing else.

use std::fmt::Write as _;

use super::chart::{self, Line};
use super::results::{Comparison, Role, Row, Summary, WorkloadResult, cell, number};
use crate::Fault;
use crate::report::{LatencyNs, Outcome, Part};
use crate::roofline::{Roofline, table};

const STYLE: &str = include_str!("report.css");

/// The whole page.
pub fn page(comparison: &Comparison) -> Result<String, Fault> {
    let mut page = String::new();
    let names = comparison.systems.iter().map(|system| system.name.clone());
    let title = names.collect::<Vec<_>>().join(" · ");
    // Writing to a string cannot fail, here and below.
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{0}</title><style>{STYLE}</style><h1>{0}</h1>",
        escaped(&title)
    );
    introduction(&mut page, comparison);
    problems(&mut page, comparison);
    summary(&mut page, comparison);
    lifecycle(&mut page, comparison);
    for workload in &comparison.workloads {
        section(&mut page, workload, comparison.roofline.as_ref())?;
    }
    machine(&mut page, comparison);
    page += "</html>\n";
    Ok(page)
}

fn introduction(page: &mut String, comparison: &Comparison) {
    let _ = write!(
        page,
        "<p>Every workload ran on every system in turn, round after round, on the same cores and the same disk, \
         and beside them, in the same rounds, what bounds the result: a <i>sink</i> is a broker that answers and keeps \
         nothing (load generator and network alone), <i>the device</i> is O_DIRECT at the same size, depth and cadence \
         of flushes without any broker. A figure is the median of the rounds, with the least and the greatest; a ratio \
         or a share is that of each round, then the median. A round with errors has no figure.</p>\
         <p><b>flushed</b>: acknowledged after the device confirmed the flush. <b>unflushed</b>: acknowledged from the \
         page cache, Kafka's default.</p>\
         <p>To repeat it:</p><pre>{}</pre><p class=\"contents\">",
        escaped(&comparison.command)
    );
    for workload in &comparison.workloads {
        let name = escaped(&workload.name);
        let _ = write!(page, "<a href=\"#{name}\">{name}</a> ");
    }
    *page += "<a href=\"#machine\">machine and configurations</a></p>";
}

fn problems(page: &mut String, comparison: &Comparison) {
    let problems = comparison.problems();
    if problems.is_empty() {
        *page += "<p>All rounds ended without an error, and every rate was kept.</p>";
        return;
    }
    *page += "<div class=\"bad\">What went wrong:<ul>";
    for problem in problems {
        let _ = write!(page, "<li>{}", escaped(&problem));
    }
    *page += "</ul></div>";
}

fn summary(page: &mut String, comparison: &Comparison) {
    if comparison.workloads.is_empty() {
        return;
    }
    let roofline = comparison.roofline.as_ref();
    *page += "<h2>Summary</h2><div class=\"wide\"><table><tr><th>workload<th>";
    for system in &comparison.systems {
        let _ = write!(page, "<th>{}", escaped(&system.name));
    }
    *page += "<th>beside";
    for workload in &comparison.workloads {
        let name = escaped(&workload.name);
        let _ = write!(
            page,
            "<tr><td><a href=\"#{name}\">{name}</a> {}<td class=\"unit\">{}",
            escaped(&workload.what),
            workload.metric.unit()
        );
        for system in &comparison.systems {
            let mut rows = workload.rows.iter().enumerate();
            let row = rows.find(|(_, row)| row.role == Role::System && row.system == system.name);
            match row {
                Some((at, row)) => figure(page, workload, at, row, roofline),
                None => *page += "<td>",
            }
        }
        *page += "<td>";
        if let Some(row) = workload.beside() {
            let _ = write!(
                page,
                "{}: {} {}{}",
                escaped(&row.system),
                spread(row.summary()),
                row.metric.unit(),
                noted(&workload.notes(row, roofline))
            );
        }
    }
    *page += "</table></div>";
}

fn figure(
    page: &mut String,
    workload: &WorkloadResult,
    at: usize,
    row: &Row,
    roofline: Option<&Roofline>,
) {
    let _ = write!(page, "<td>{}", spread(row.summary()));
    let ratio = Summary::of(workload.ratios(at)).filter(|_| at > 0);
    if let Some(Summary { median, min, max }) = ratio {
        let _ = write!(
            page,
            "<div class=\"ratio\">Millstream {}x <small>{} to {}</small></div>",
            number(median),
            number(min),
            number(max)
        );
    }
    *page += &noted(&workload.notes(row, roofline));
}

fn noted(notes: &[String]) -> String {
    let lines = notes
        .iter()
        .map(|note| format!("<div class=\"note\">{}</div>", escaped(note)));
    lines.collect()
}

fn spread(summary: Option<Summary>) -> String {
    summary.map_or_else(
        || "no figure".into(),
        |Summary { median, min, max }| {
            format!(
                "<b>{}</b> <small>{} to {}</small>",
                number(median),
                number(min),
                number(max)
            )
        },
    )
}

fn lifecycle(page: &mut String, comparison: &Comparison) {
    let mut systems = comparison
        .systems
        .iter()
        .filter(|system| system.has_lifecycle())
        .peekable();
    if systems.peek().is_none() {
        return;
    }
    let _ = write!(
        page,
        "<h2>Start, restart, memory</h2><table><tr><th><th>start without data, s<th>restart after kill -9 with {} partitions, s\
         <th>memory after start, MiB<th>KiB for each idle connection",
        comparison.restart_partitions
    );
    for system in systems {
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}",
            escaped(&system.name),
            cell(system.start_seconds),
            cell(system.restart_seconds),
            cell(system.resident_after_start_mib()),
            cell(system.kib_per_idle_connection())
        );
    }
    *page += "</table><p>Start: until Metadata is answered. Restart: until every partition has a leader that answers and a \
              record is acknowledged.</p>";
}

fn section(
    page: &mut String,
    workload: &WorkloadResult,
    roofline: Option<&Roofline>,
) -> Result<(), Fault> {
    let _ = write!(
        page,
        "<h2 id=\"{0}\">{0} {1}</h2><pre>{2}</pre><div class=\"charts\">{3}",
        escaped(&workload.name),
        escaped(&workload.what),
        escaped(&workload.command),
        chart::rounds(workload)?
    );
    let lines = workload.rows.iter().filter_map(|row| {
        let outcome = row.middle()?;
        Some(Line {
            name: row.system.clone(),
            role: row.role,
            points: chart::curve(&outcome.first.hgrm),
        })
    });
    *page += &chart::percentiles(&lines.collect::<Vec<_>>())?;
    *page += "</div><p class=\"note\">Left: the figure of each round. Right: latencies of the median round, first part.</p>";
    figures(page, workload, roofline);
    histograms(page, workload);
    Ok(())
}

/// Medians of all that was measured, part by part.
fn figures(page: &mut String, workload: &WorkloadResult, roofline: Option<&Roofline>) {
    *page += "<div class=\"wide\"><table><tr><th><th>part<th>MB/s<th>requests/s<th>p50 ms<th>p99 ms<th>p99.9 ms<th>p99.99 ms<th>max ms\
              <th>CPU s/GB<th>CPU µs/request<th>CPU of the load, %<th>memory, MiB<th>";
    for row in &workload.rows {
        let first = row.runs.iter().find_map(|run| run.outcome());
        let parts = first.map_or(0, |outcome| outcome.parts().count());
        for at in 0..parts {
            part_figures(page, row, at);
            if at > 0 {
                *page += "<td><td><td><td><td>";
                continue;
            }
            let load = |outcome: &Outcome| {
                Some(100.0 * outcome.load.cpu_seconds / outcome.process_seconds)
            };
            let _ = write!(
                page,
                "<td>{}<td>{}<td>{}<td>{}<td>{}",
                cell(row.median(|outcome| outcome.broker_cpu_seconds_per_gb)),
                cell(row.median(|outcome| outcome.broker_cpu_us_per_request)),
                cell(row.median(load)),
                cell(row.median(|outcome| Some(outcome.broker?.resident_mib()))),
                noted(&workload.notes(row, roofline))
            );
        }
    }
    *page += "</table></div>";
}

fn part_figures(page: &mut String, row: &Row, at: usize) {
    let of =
        |value: fn(&Part) -> f64| cell(row.median(|outcome| outcome.parts().nth(at).map(value)));
    let ms = |of: fn(&LatencyNs) -> u64| {
        cell(row.median(|outcome| Some(of(&outcome.parts().nth(at)?.latency_ns) as f64 / 1e6)))
    };
    let mut runs = row.runs.iter().filter_map(|run| run.outcome());
    let part = runs.find_map(|outcome| outcome.parts().nth(at));
    let _ = write!(
        page,
        "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}",
        if at == 0 {
            escaped(&row.system)
        } else {
            String::new()
        },
        part.map_or_else(String::new, |part| escaped(&part.part)),
        of(|part| part.mb_per_second),
        of(|part| part.requests_per_second),
        ms(|latency| latency.p50),
        ms(|latency| latency.p99),
        ms(|latency| latency.p99_9),
        ms(|latency| latency.p99_99),
        ms(|latency| latency.max),
    );
}

fn histograms(page: &mut String, workload: &WorkloadResult) {
    *page += "<details><summary>histograms of all rounds</summary>";
    for row in &workload.rows {
        for (what, runs) in [("", &row.runs), (", alone", &row.alone)] {
            for (round, run) in runs.iter().enumerate() {
                for part in run.outcome().iter().flat_map(|outcome| outcome.parts()) {
                    let _ = write!(
                        page,
                        "<h4>{}{what}, round {}, {}</h4><pre>{}</pre>",
                        escaped(&row.system),
                        round + 1,
                        escaped(&part.part),
                        escaped(&part.hgrm)
                    );
                }
            }
        }
    }
    *page += "</details>";
}

fn machine(page: &mut String, comparison: &Comparison) {
    *page += "<h2 id=\"machine\">Machine</h2><table class=\"plain\">";
    for (name, value) in &comparison.machine {
        let _ = write!(page, "<tr><td>{}<td>{}", escaped(name), escaped(value));
    }
    *page += "</table>";
    if let Some(roofline) = &comparison.roofline {
        let _ = write!(
            page,
            "<h2>What the machine can do</h2><pre>{}</pre>",
            escaped(&table::text(roofline))
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
