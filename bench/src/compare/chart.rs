//! Charts of a report, as SVG.

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::results::{Role, WorkloadResult};
use crate::Fault;

const SIZE: (u32, u32) = (540, 320);
/// One for each row; readable without colours by their order, too.
const COLOURS: [RGBColor; 4] = [
    RGBColor(0, 90, 160),
    RGBColor(200, 80, 0),
    RGBColor(120, 120, 120),
    RGBColor(0, 130, 90),
];
/// What could be reached at best.
const CEILING: RGBColor = RGBColor(60, 60, 60);

/// One line.
pub struct Line {
    pub name: String,
    pub role: Role,
    pub points: Vec<(f64, f64)>,
}

/// The workload's figure, round by round.
pub fn rounds(workload: &WorkloadResult) -> Result<String, Fault> {
    // Of what is measured otherwise there is nothing to draw on the same scale.
    let alike = workload
        .rows
        .iter()
        .filter(|row| row.metric == workload.metric);
    let lines = alike.map(|row| {
        let values = row.runs.iter().enumerate();
        let points = values
            .filter_map(|(round, run)| Some((round as f64 + 1.0, run.value(workload.metric)?)));
        Line {
            name: row.system.clone(),
            role: row.role,
            points: points.collect(),
        }
    });
    let lines: Vec<Line> = lines.collect();
    let count = (workload.rows.iter().map(|row| row.runs.len()).max()).unwrap_or(1);
    let axis = Axis {
        from: 0.5,
        to: count as f64 + 0.5,
        labels: count + 1,
        name: "round",
        label: &|round| format!("{round:.0}"),
    };
    draw(axis, workload.metric.unit(), 0.0..above(&lines), &lines)
}

/// Latency over percentiles, as HdrHistogram's tools plot it: each step to the right is a nine more.
pub fn percentiles(lines: &[Line]) -> Result<String, Fault> {
    const NINES_MAX: f64 = 5.0;
    let axis = Axis {
        from: 0.0,
        to: NINES_MAX,
        labels: NINES_MAX as usize + 1,
        name: "percentile",
        label: &|nines| {
            let digits = (*nines - 2.0).max(0.0) as usize;
            format!("{:.digits$}", 100.0 * (1.0 - 10f64.powf(-nines)))
        },
    };
    let shown: Vec<Line> = lines
        .iter()
        .map(|line| {
            let points = line.points.iter().copied();
            Line {
                name: line.name.clone(),
                role: line.role,
                points: points
                    .filter(|(nines, ms)| *nines <= NINES_MAX && *ms > 0.0)
                    .collect(),
            }
        })
        .collect();
    let points = shown.iter().flat_map(|line| &line.points);
    let least = points.map(|(_, ms)| *ms).fold(f64::MAX, f64::min);
    // On this scale the names need more.
    let top = 3.0 * above(&shown);
    // A decade at least, or the scale has no labels.
    let least = (0.9 * least).min(top / 10.0);
    draw(axis, "ms", (least..top).log_scale(), &shown)
}

/// The one from left to right.
struct Axis<'a> {
    from: f64,
    to: f64,
    labels: usize,
    name: &'a str,
    label: &'a dyn Fn(&f64) -> String,
}

fn draw<Y>(axis: Axis<'_>, unit: &str, height: Y, lines: &[Line]) -> Result<String, Fault>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let width: std::ops::Range<f64> = axis.from..axis.to;
    let mut chart: ChartContext<'_, _, Cartesian2d<RangedCoordf64, Y::CoordDescType>> =
        ChartBuilder::on(&root)
            .margin(10)
            .x_label_area_size(38)
            .y_label_area_size(70)
            .build_cartesian_2d(width, height)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc(axis.name)
        .y_desc(unit)
        .x_labels(axis.labels)
        .x_label_formatter(axis.label)
        .draw()?;
    for (at, line) in lines.iter().enumerate() {
        let colour = match line.role {
            Role::Ceiling => CEILING,
            _ => COLOURS[at % COLOURS.len()],
        };
        // What could be reached is thinner: it is no competitor.
        let stroke = colour.stroke_width(if line.role == Role::Ceiling { 1 } else { 2 });
        // Many points are a line, few are seen each.
        let size = if line.points.len() > 20 { 0 } else { 3 };
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), stroke).point_size(size))?
            .label(line.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], stroke));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.2))
        .draw()?;
    root.present()?;
    drop(chart);
    drop(root);
    Ok(svg)
}

/// A little above all points, so that the highest is seen and the names have room.
fn above(lines: &[Line]) -> f64 {
    let points = lines.iter().flat_map(|line| &line.points);
    let top = points.map(|(_, value)| *value).fold(0.0, f64::max);
    if top > 0.0 { top * 1.35 } else { 1.0 }
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
    use crate::compare::results::Row;
    use crate::compare::scenarios::Metric;

    #[test]
    fn charts_name_their_systems() {
        let line = |points: &[(f64, f64)]| Line {
            name: "ours".into(),
            role: Role::System,
            points: points.to_vec(),
        };
        let svg = percentiles(&[line(&[(0.0, 0.1), (1.0, 0.2), (3.0, 9.0)])]).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("ours") && svg.contains("99.9"));
        // Without any result there is a chart still.
        assert!(percentiles(&[line(&[])]).is_ok());
        let workload = WorkloadResult {
            name: "W1".into(),
            what: String::new(),
            command: String::new(),
            metric: Metric::MbPerSecond,
            rows: vec![Row {
                system: "ours".into(),
                role: Role::System,
                metric: Metric::MbPerSecond,
                runs: Vec::new(),
                alone: Vec::new(),
            }],
        };
        assert!(rounds(&workload).unwrap().contains("MB/s"));
    }

    #[test]
    fn a_curve_counts_nines() {
        let table = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n 1.500 0.900000000000 9 10.00\n 2.000 1.000000000000 10\n#[Mean = 1]\n";
        let curve = curve(table);
        assert_eq!(curve.len(), 1);
        assert!((curve[0].0 - 1.0).abs() < 1e-9 && (curve[0].1 - 1.5).abs() < 1e-9);
    }
}
