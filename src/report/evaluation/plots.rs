//! Pictures of the evaluation page, as SVG text.

use crate::fidelity::distance::FieldDistance;
use crate::fidelity::tfidf::{BARS, Histogram};
use crate::report::curve::{self, Area, Drawn, GRID, INK};
use crate::{Error, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const WIDTH: u32 = 900;
/// Maximum number of fields in a picture.
pub const MOST_FIELDS: usize = 30;
const ROW: u32 = 22;
const LABELS: u32 = 330;
/// Number of characters of a path that fit next to the plot.
const LABEL: usize = 44;

const BAND: RGBColor = RGBColor(170, 182, 200);
const INSIDE: RGBColor = RGBColor(37, 99, 235);
const OUTSIDE: RGBColor = RGBColor(220, 60, 30);

fn drawn(height: u32, draw: impl FnOnce(&Area) -> Drawn) -> Result<String> {
    let mut text = String::new();
    let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
    draw(&root).map_err(|e| Error::failed(format!("cannot draw the report: {e}")))?;
    drop(root);
    Ok(text)
}

/// Total variation of each field: the band of real records as a bar, the generated records as a dot, the training records
/// as a short line.
pub fn fields(fields: &[&FieldDistance]) -> Result<String> {
    let fields = &fields[..fields.len().min(MOST_FIELDS)];
    drawn(fields.len().max(1) as u32 * ROW + 70, |root| draw_fields(root, fields))
}

fn draw_fields(root: &Area, fields: &[&FieldDistance]) -> Drawn {
    root.fill(&WHITE)?;
    let tops = fields.iter().flat_map(|field| [field.generated, field.band_high, field.training]);
    let right = tops.map(|distances| distances.total_variation).fold(0.1, f64::max) * 1.03;
    let rows = fields.len().max(1) as f64;
    let mut chart = ChartBuilder::on(root)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(LABELS)
        .build_cartesian_2d(0.0..right, 0.0..rows)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK.mix(0.6))
        .y_labels(0)
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .axis_desc_style(("sans-serif", 14).into_font().color(&INK))
        .x_desc("total variation distance (0: the same as real, 1: nothing in common)")
        .draw()?;
    for (row, field) in fields.iter().enumerate() {
        let middle = rows - row as f64 - 0.5;
        let (low, high) = (field.band_low.total_variation, field.band_high.total_variation);
        chart.draw_series([Rectangle::new([(low, middle - 0.3), (high, middle + 0.3)], BAND.mix(0.55).filled())])?;
        let training = field.training.total_variation;
        let tick = vec![(training, middle - 0.4), (training, middle + 0.4)];
        chart.draw_series([PathElement::new(tick, INK.stroke_width(2))])?;
        let colour = if field.outside { OUTSIDE } else { INSIDE };
        chart.draw_series([Circle::new((field.generated.total_variation, middle), 5, colour.filled())])?;
        let style = ("sans-serif", 13).into_font().color(&INK).pos(Pos::new(HPos::Right, VPos::Center));
        let (_, y) = chart.backend_coord(&(0.0, middle));
        root.draw(&Text::new(shortened(&field.path), (LABELS as i32, y), style))?;
    }
    root.present()?;
    Ok(())
}

/// Shortens a path to its end, which says more than its beginning.
fn shortened(path: &str) -> String {
    let length = path.chars().count();
    if length <= LABEL {
        path.to_string()
    } else {
        format!("…{}", path.chars().skip(length - LABEL + 1).collect::<String>())
    }
}

/// Two histograms over 0..=1, one in front of the other, each as fractions of its own total.
pub fn histograms(generated: &Histogram, real: &Histogram, x: &str) -> Result<String> {
    drawn(320, |root| draw_histograms(root, generated, real, x))
}

fn draw_histograms(root: &Area, generated: &Histogram, real: &Histogram, x: &str) -> Drawn {
    root.fill(&WHITE)?;
    let [made, real] = [generated, real].map(|histogram| {
        let total = histogram.bars.iter().sum::<u64>().max(1) as f64;
        histogram.bars.iter().map(|&bar| bar as f64 / total).collect::<Vec<f64>>()
    });
    let top = made.iter().chain(&real).copied().fold(0.01, f64::max) * 1.08;
    let mut chart = ChartBuilder::on(root)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..1.0, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK.mix(0.6))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .axis_desc_style(("sans-serif", 14).into_font().color(&INK))
        .y_label_formatter(&|share| format!("{:.0} %", 100.0 * share))
        .x_desc(x)
        .y_desc("share of records")
        .draw()?;
    let edge = |bar: usize| bar as f64 / BARS as f64;
    for (bars, colour, name) in [(&real, BAND, "real, held out"), (&made, INSIDE, "generated")] {
        let solid = bars.iter().enumerate().filter(|(_, share)| **share > 0.0);
        let rectangle = |(bar, &share): (usize, &f64)| {
            Rectangle::new([(edge(bar), 0.0), (edge(bar + 1), share)], colour.mix(0.5).filled())
        };
        chart
            .draw_series(solid.map(rectangle))?
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 16, y + 5)], colour.mix(0.7).filled()));
    }
    curve::legend(&mut chart, SeriesLabelPosition::UpperLeft)?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_keep_their_end() {
        let long = format!("{}.end", "x".repeat(60));
        assert!(shortened(&long).ends_with("xx.end") && shortened(&long).starts_with('…'));
        assert_eq!((shortened(&long).chars().count(), shortened("a.b").as_str()), (LABEL, "a.b"));
    }

    #[test]
    fn empty_histograms_are_drawn_too() {
        let text = histograms(&Histogram::default(), &Histogram::default(), "x").unwrap();
        assert!(text.ends_with("</svg>\n") && !text.contains("NaN"));
    }
}
