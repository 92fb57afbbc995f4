//! Charts of a report, as SVG.

use plotters::prelude::*;

use super::results::WorkloadResult;
use crate::Fault;

const SIZE: (u32, u32) = (520, 300);
/// One for each system; readable without colours by their order, too.
const COLOURS: [RGBColor; 4] = [
    RGBColor(0, 90, 160),
    RGBColor(200, 80, 0),
    RGBColor(120, 120, 120),
    RGBColor(0, 130, 90),
];

/// The workload's figure, round by round, a line for each system.
pub fn rounds(workload: &WorkloadResult, systems: &[String]) -> Result<String, Fault> {
    let series: Vec<Vec<(f64, f64)>> = (workload.runs.iter())
        .map(|runs| {
            let values = runs.iter().enumerate();
            values
                .filter_map(|(round, run)| Some((round as f64 + 1.0, run.value(workload.metric)?)))
                .collect()
        })
        .collect();
    let rounds = workload.runs.iter().map(Vec::len).max().unwrap_or(1) as f64;
    let top = series
        .iter()
        .flatten()
        .map(|(_, value)| *value)
        .fold(0.0, f64::max);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(64)
            .build_cartesian_2d(0.5..rounds + 0.5, 0.0..above(top))?;
        chart
            .configure_mesh()
            .x_desc("round")
            .y_desc(workload.metric.unit())
            .x_labels(rounds as usize + 1)
            .draw()?;
        for (at, points) in series.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            chart
                .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)).point_size(3))?
                .label(systems.get(at).cloned().unwrap_or_default())
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2))
                });
        }
        legend(&mut chart)?;
        root.present()?;
    }
    Ok(svg)
}

/// Latency over percentiles, as HdrHistogram's tools plot it: each step to the right is a nine more. Of each system's
/// median round.
pub fn percentiles(curves: &[(String, Vec<(f64, f64)>)]) -> Result<String, Fault> {
    const NINES_MAX: f64 = 5.0;
    let least = 1e-3;
    let points = curves.iter().flat_map(|(_, curve)| curve);
    let top = points.map(|(_, ms)| *ms).fold(least * 10.0, f64::max);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..NINES_MAX, (least * 10.0..above(top)).log_scale())?;
        chart
            .configure_mesh()
            .x_desc("percentile")
            .y_desc("ms")
            .x_label_formatter(&|nines| {
                let digits = (*nines - 2.0).max(0.0) as usize;
                format!("{:.digits$}", 100.0 * (1.0 - 10f64.powf(-nines)))
            })
            .draw()?;
        for (at, (name, curve)) in curves.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let shown = curve
                .iter()
                .filter(|(nines, ms)| *nines <= NINES_MAX && *ms >= least * 10.0);
            chart
                .draw_series(LineSeries::new(shown.copied(), colour.stroke_width(2)))?
                .label(name.clone())
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2))
                });
        }
        legend(&mut chart)?;
        root.present()?;
    }
    Ok(svg)
}

fn legend<'a, C: plotters::coord::CoordTranslate>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, C>,
) -> Result<(), Fault> {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()
        .map_err(|error| error.to_string().into())
}

/// A little above, so that the highest point is seen.
fn above(top: f64) -> f64 {
    if top > 0.0 { top * 1.1 } else { 1.0 }
}

/// (nines, milliseconds) of a table of HdrHistogram's tools.
pub fn curve(hgrm: &str) -> Vec<(f64, f64)> {
    let lines = hgrm.lines().skip(1).filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut fields = line.split_whitespace().map(str::parse::<f64>);
            let (value, quantile) = (fields.next()?.ok()?, fields.next()?.ok()?);
            (quantile < 1.0).then(|| (-(1.0 - quantile).log10(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_name_their_systems() {
        let curves = [("ours".to_owned(), vec![(0.0, 0.1), (1.0, 0.2), (3.0, 9.0)])];
        let svg = percentiles(&curves).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("ours"));
        let workload = WorkloadResult {
            name: "W1".into(),
            what: String::new(),
            command: String::new(),
            metric: super::super::scenarios::Metric::MbPerSecond,
            runs: vec![Vec::new()],
        };
        assert!(
            rounds(&workload, &["ours".into()])
                .unwrap()
                .contains("MB/s")
        );
    }

    #[test]
    fn a_curve_counts_nines() {
        let table = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n 1.500 0.900000000000 9 10.00\n 2.000 1.000000000000 10\n#[Mean = 1]\n";
        let curve = curve(table);
        assert_eq!(curve.len(), 1);
        assert!((curve[0].0 - 1.0).abs() < 1e-9 && (curve[0].1 - 1.5).abs() < 1e-9);
    }
}
