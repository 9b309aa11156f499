//! Growth laws, as log-log plots in SVG.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

use crate::report::Report;

const SIZE: (u32, u32) = (900, 520);

/// One colour for each subject, all told apart by those who see fewer colours too (Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
    RGBColor(140, 140, 140),
];

/// Draws every subject of a work over the number of policies.
///
/// What is zero or less, as a cost over a baseline may come out where there is none, has no place on such a plot.
pub(crate) fn draw(report: &Report, work: &str, unit: &str, file: &Path) -> anyhow::Result<()> {
    let series: Vec<(&str, Vec<(f64, f64)>)> = report
        .series(work)
        .into_iter()
        .map(|(subject, points)| {
            (
                subject,
                points.into_iter().filter(|(x, y)| *x > 0.0 && *y > 0.0).collect(),
            )
        })
        .collect();
    let points = || series.iter().flat_map(|(_, points)| points);
    let Some((low, high)) = bounds(points().map(|(_, y)| *y)) else {
        return Ok(());
    };
    let Some((left, right)) = bounds(points().map(|(x, _)| *x)) else {
        return Ok(());
    };
    let failed = |error: DrawingAreaErrorKind<_>| anyhow!("cannot draw {}: {error}", file.display());
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(work, ("sans-serif", 20))
        .margin(15)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(
            (left / 1.5..right * 1.5).log_scale(),
            (low / 2.0..high * 2.0).log_scale(),
        )
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc("policies of 5 rules")
        .y_desc(unit)
        .x_label_formatter(&label)
        .y_label_formatter(&label)
        .label_style(("sans-serif", 14))
        .light_line_style(WHITE)
        .draw()
        .map_err(failed)?;
    for ((subject, points), colour) in series.iter().zip(COLOURS.iter().cycle()) {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3))
            .map_err(failed)?
            .label(*subject)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 14))
        .draw()
        .map_err(failed)?;
    root.present().map_err(failed)
}

fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |bounds, value| {
        let (low, high) = bounds.unwrap_or((value, value));
        Some((f64::min(low, value), f64::max(high, value)))
    })
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "plotters hands a reference over"
)]
fn label(value: &f64) -> String {
    format!("{value}")
}
