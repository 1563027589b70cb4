//! The loss curve as an SVG picture: training loss (raw and smoothed), validation loss, and the learning rate behind them.

use crate::files::write_atomic;
use crate::{Error, Result};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::coord::{CoordTranslate, Shift};
use plotters::prelude::*;
use std::ops::Range;
use std::path::Path;

const WIDTH: u32 = 900;
const HEIGHT: u32 = 500;
/// No line has more columns than the plot has pixels, so the file stays small however long the run is.
const COLUMNS: usize = 800;

pub(super) const INK: RGBColor = RGBColor(51, 60, 74);
pub(super) const GRID: RGBColor = RGBColor(228, 232, 238);
const TRAIN: RGBColor = RGBColor(37, 99, 235);
const VALIDATION: RGBColor = RGBColor(220, 88, 20);
const RATE: RGBColor = RGBColor(150, 160, 175);

/// Points as (step, value), in the order of the steps; values that are not finite are not drawn.
#[derive(Clone, Debug, Default)]
pub struct LossCurve {
    pub title: String,
    pub train: Vec<(u64, f64)>,
    pub val: Vec<(u64, f64)>,
    /// Learning rate; empty for a picture without it.
    pub rate: Vec<(u64, f64)>,
    /// Unit of the losses, e.g. "nats per token".
    pub unit: String,
    /// Logarithmic loss axis.
    pub log_y: bool,
}

/// Draws the curve into `path` as SVG, 900 x 500, below 200 kB, and replaces the file atomically.
///
/// # Errors
/// `Error::Failed` when the file cannot be written.
pub fn loss_curve(curve: &LossCurve, path: &Path) -> Result<()> {
    write_atomic(path, svg(curve)?.as_bytes())
}

type Points = Vec<(f64, f64)>;

/// The four lines, thinned, in the units of the axes.
struct CurveSeries {
    raw: Points,
    smooth: Points,
    val: Points,
    rate: Points,
    steps: Range<f64>,
    losses: Range<f64>,
}

impl CurveSeries {
    fn new(curve: &LossCurve) -> Self {
        let usable = |points: &[(u64, f64)]| -> Points {
            let fits = |y: f64| y.is_finite() && (y > 0.0 || !curve.log_y);
            points.iter().filter(|p| fits(p.1)).map(|&(step, y)| (step as f64, y)).collect()
        };
        let (train, val) = (usable(&curve.train), usable(&curve.val));
        let rate: Points = usable(&curve.rate).into_iter().filter(|p| p.1 >= 0.0).collect();
        let all = || train.iter().chain(&val);
        // At least ten steps, so that the labels of a run that has just begun differ.
        let steps = 0.0..all().map(|p| p.0).fold(10.0, f64::max);
        let losses = padded(all().map(|p| p.1), curve.log_y);
        let smooth = thin_last(&smoothed(&train), steps.end);
        CurveSeries {
            raw: thin_extremes(&train, steps.end),
            smooth,
            val: thin_last(&val, steps.end),
            rate: thin_last(&rate, steps.end),
            steps,
            losses,
        }
    }
}

/// The range of the values with a margin above and below; a range around 1 for no values, around the value for a single one.
fn padded(values: impl Iterator<Item = f64>, log: bool) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), y| (l.min(y), h.max(y)));
    if low > high {
        return 0.5..2.0;
    }
    if log {
        let air = (high / low).powf(0.06).max(1.05);
        return low / air..high * air;
    }
    let air = ((high - low) * 0.06).max(low.abs() * 1e-3).max(1e-9);
    // Losses are not negative: an axis that begins below zero would mislead.
    let floor = if low >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
    (low - air).max(floor)..high + air
}

/// Centred mean over about a fiftieth of the points. It does not lag behind a falling loss as a running average does; towards
/// the ends the window shrinks on both sides.
fn smoothed(points: &[(f64, f64)]) -> Points {
    let mut sums = vec![0.0];
    sums.extend(points.iter().scan(0.0, |sum, p| {
        *sum += p.1;
        Some(*sum)
    }));
    let widest = points.len() / 100;
    let mean = |(i, point): (usize, &(f64, f64))| {
        let reach = widest.min(i).min(points.len() - 1 - i);
        let (from, to) = (i - reach, i + reach + 1);
        (point.0, (sums[to] - sums[from]) / (to - from) as f64)
    };
    points.iter().enumerate().map(mean).collect()
}

/// At least four round values inside a logarithmic axis: decades, or 1-2-5, or even steps over a narrow range.
fn log_ticks(range: &Range<f64>) -> Vec<f64> {
    let decades = range.start.log10().floor() as i32..=range.end.log10().floor() as i32;
    let ticks = |mantissas: &[f64]| -> Vec<f64> {
        let all = decades.clone().flat_map(|d| mantissas.iter().map(move |m| m * 10f64.powi(d)));
        all.filter(|tick| range.contains(tick)).collect()
    };
    let found = [ticks(&[1.0]), ticks(&[1.0, 2.0, 5.0])].into_iter().find(|ticks| ticks.len() >= 4);
    found.unwrap_or_else(|| even_ticks(range))
}

/// The multiples of a round step inside the range, 5 to 12 of them.
fn even_ticks(range: &Range<f64>) -> Vec<f64> {
    let fifth = (range.end - range.start) / 5.0;
    let decade = 10f64.powf(fifth.log10().floor());
    let step = decade * [5.0, 2.0, 1.0].into_iter().find(|m| m * decade <= fifth).unwrap_or(1.0);
    let first = (range.start / step).ceil();
    (0..).map(|i| (first + f64::from(i)) * step).take_while(|&tick| tick < range.end).collect()
}

/// The points that share a column of the plot, column by column.
fn columns(points: &[(f64, f64)], last_step: f64) -> impl Iterator<Item = &[(f64, f64)]> {
    let column = move |x: f64| (x / last_step * COLUMNS as f64) as usize;
    points.chunk_by(move |a, b| column(a.0) == column(b.0))
}

/// The lowest and the highest point of each column, in their order, so that spikes survive.
fn thin_extremes(points: &[(f64, f64)], last_step: f64) -> Points {
    let extremes = |group: &[(f64, f64)]| {
        let by_loss = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let low = *group.iter().min_by(by_loss).expect("a column has a point");
        let high = *group.iter().max_by(by_loss).expect("a column has a point");
        let pair = if low.0 <= high.0 { [low, high] } else { [high, low] };
        if group.len() == 1 { vec![low] } else { pair.to_vec() }
    };
    columns(points, last_step).flat_map(extremes).collect()
}

/// The last point of each column.
fn thin_last(points: &[(f64, f64)], last_step: f64) -> Points {
    columns(points, last_step).map(|group| *group.last().expect("a column has a point")).collect()
}

/// The picture as text; [`loss_curve`] writes it to a file, the report page embeds it.
pub(super) fn svg(curve: &LossCurve) -> Result<String> {
    let lines = CurveSeries::new(curve);
    let mut text = String::new();
    let root = SVGBackend::with_string(&mut text, (WIDTH, HEIGHT)).into_drawing_area();
    let drawn = if curve.log_y {
        let axis = lines.losses.clone().log_scale().with_key_points(log_ticks(&lines.losses));
        draw(&root, curve, &lines, axis)
    } else {
        draw(&root, curve, &lines, lines.losses.clone())
    };
    drawn.map_err(|e| Error::failed(format!("cannot draw the loss curve: {e}")))?;
    drop(root);
    Ok(text)
}

pub(super) type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Axes, lines and legend. `losses` is the loss axis, linear or logarithmic.
fn draw<Y>(root: &Area, curve: &LossCurve, lines: &CurveSeries, losses: Y) -> Drawn
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    root.fill(&WHITE)?;
    let top_rate = lines.rate.iter().map(|p| p.1).fold(0.0, f64::max);
    // Twice the peak, so that the rate stays in the lower half, below the falling loss.
    let rates: Range<f64> = 0.0..if top_rate > 0.0 { 2.0 * top_rate } else { 1.0 };
    let mut chart = ChartBuilder::on(root)
        .caption(&curve.title, ("sans-serif", 19).into_font().color(&INK))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(62)
        .right_y_label_area_size(if top_rate > 0.0 { 66 } else { 10 })
        .build_cartesian_2d(lines.steps.clone(), losses)?
        .set_secondary_coord(lines.steps.clone(), rates);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK.mix(0.6))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .axis_desc_style(("sans-serif", 14).into_font().color(&INK))
        .x_label_formatter(&|step| thousands(*step))
        .y_label_formatter(&|loss| short(*loss))
        .x_desc("steps")
        .y_desc(if curve.unit.is_empty() { "loss".into() } else { format!("loss, {}", curve.unit) })
        .draw()?;
    draw_rate(&mut chart, lines, top_rate)?;
    draw_losses(&mut chart, lines)?;
    legend(&mut chart, SeriesLabelPosition::UpperRight)?;
    root.present()?;
    Ok(())
}

/// Draws the legend of a chart on a slightly transparent background.
pub(super) fn legend<'a, 'b: 'a, Place: CoordTranslate>(
    chart: &mut ChartContext<'a, SVGBackend<'b>, Place>,
    position: SeriesLabelPosition,
) -> Drawn {
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .label_font(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    Ok(())
}

type Chart<'a, 'b, Y> = plotters::chart::DualCoordChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<RangedCoordf64, Y>,
    Cartesian2d<RangedCoordf64, RangedCoordf64>,
>;

/// Draws the learning rate, faint, on the right axis; nothing where there is none.
fn draw_rate<Y: Ranged<ValueType = f64>>(chart: &mut Chart<Y>, lines: &CurveSeries, top_rate: f64) -> Drawn {
    if top_rate <= 0.0 {
        return Ok(());
    }
    chart
        .configure_secondary_axes()
        .y_labels(5)
        .axis_style(RATE.mix(0.6))
        .label_style(("sans-serif", 12).into_font().color(&RATE))
        .y_label_formatter(&|rate| if *rate == 0.0 { "0".into() } else { format!("{rate:.1e}") })
        .y_desc("learning rate")
        .draw()?;
    chart
        .draw_secondary_series(LineSeries::new(lines.rate.iter().copied(), RATE.mix(0.7).stroke_width(1)))?
        .label("learning rate")
        .legend(|at| key(at, RATE.stroke_width(1)));
    Ok(())
}

fn draw_losses<Y: Ranged<ValueType = f64>>(chart: &mut Chart<Y>, lines: &CurveSeries) -> Drawn {
    chart.draw_series(LineSeries::new(lines.raw.iter().copied(), TRAIN.mix(0.28).stroke_width(1)))?;
    chart
        .draw_series(LineSeries::new(lines.smooth.iter().copied(), TRAIN.stroke_width(2)))?
        .label("training, smoothed")
        .legend(|at| key(at, TRAIN.stroke_width(2)));
    if lines.val.is_empty() {
        return Ok(());
    }
    chart
        .draw_series(LineSeries::new(lines.val.iter().copied(), VALIDATION.stroke_width(2)))?
        .label("validation")
        .legend(|at| key(at, VALIDATION.stroke_width(2)));
    // Dots show where it was measured, as long as they are few enough to be told apart.
    if lines.val.len() <= 100 {
        chart.draw_series(lines.val.iter().map(|&point| Circle::new(point, 3, VALIDATION.filled())))?;
    }
    Ok(())
}

pub(super) fn key((x, y): (i32, i32), style: ShapeStyle) -> PathElement<(i32, i32)> {
    PathElement::new(vec![(x, y), (x + 18, y)], style)
}

/// 12500 -> "12,500".
fn thousands(step: f64) -> String {
    let digits = format!("{step:.0}");
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).unwrap_or("")).collect();
    groups.join(",")
}

/// A loss without trailing zeros: 0.25, 1.5, 10.
fn short(loss: f64) -> String {
    let text = format!("{loss:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of `steps` steps: falling loss with noise and a spike, validation fifty times, a warm-up and a decay.
    fn example(steps: u64) -> LossCurve {
        let noise = |i: u64| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / (1u64 << 24) as f64 - 0.5;
        let floor = |i: u64| 0.45 + 3.9 * (-(i as f64) / steps as f64 * 12.0).exp();
        let spike = |i: u64| if i == steps / 2 { 2.0 } else { 0.0 };
        let done = |i: u64| i as f64 / steps as f64;
        LossCurve {
            title: "A run".into(),
            train: (0..steps).map(|i| (i, floor(i) * (1.0 + 0.25 * noise(i)) + spike(i))).collect(),
            val: (0..steps).step_by((steps / 50).max(1) as usize).map(|i| (i, floor(i) * 1.03)).collect(),
            rate: (0..steps).map(|i| (i, 1e-3 * (done(i) * 20.0).min(1.0) * (1.0 - 0.9 * done(i)))).collect(),
            unit: "nats per token".into(),
            log_y: false,
        }
    }

    #[test]
    fn a_long_run_makes_a_small_file_that_keeps_its_spike() {
        let curve = example(100_000);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("loss.svg");
        loss_curve(&curve, &path).expect("it draws");
        let text = std::fs::read_to_string(&path).expect("the picture");
        assert!(text.len() < 200_000, "{} bytes", text.len());
        assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 1, "a temporary file is left");
        let raw = CurveSeries::new(&curve).raw;
        assert!(raw.len() <= 2 * COLUMNS + 2, "{} points", raw.len());
        assert!(raw.iter().any(|p| p.0 == 50_000.0), "the spike is gone");
        for words in ["steps", "loss, nats per token", "learning rate", "validation", "A run"] {
            assert!(text.contains(words), "no {words:?} in the picture");
        }
    }

    #[test]
    fn a_short_run_is_drawn_point_by_point() {
        let lines = CurveSeries::new(&example(60));
        assert_eq!((lines.raw.len(), lines.smooth.len()), (60, 60));
        assert!(lines.raw.iter().zip(&lines.smooth).any(|(raw, smooth)| raw.1 != smooth.1), "nothing was smoothed");
    }

    #[test]
    fn odd_curves_are_drawn_too() {
        let odd = [
            LossCurve::default(),
            LossCurve { train: vec![(0, 1.5)], ..LossCurve::default() },
            LossCurve { train: vec![(0, f64::NAN), (1, f64::INFINITY)], ..LossCurve::default() },
            LossCurve { train: vec![(5, 0.0), (9, 0.0)], val: vec![(9, 0.0)], ..LossCurve::default() },
            LossCurve { val: vec![(0, 4.0), (1000, 0.2)], rate: vec![(0, 0.0), (7, f64::NAN)], ..LossCurve::default() },
        ];
        for log_y in [false, true] {
            for curve in odd.iter().cloned().map(|curve| LossCurve { log_y, ..curve }) {
                let range = CurveSeries::new(&curve).losses;
                assert!(range.start < range.end && range.end.is_finite(), "{curve:?}: {range:?}");
                assert!(range.start > 0.0 || !log_y, "{curve:?}: {range:?}");
                assert!(svg(&curve).expect("it draws").ends_with("</svg>\n"), "{curve:?}");
            }
        }
    }

    #[test]
    fn the_mean_follows_a_line_without_lag_and_evens_out_noise() {
        let line: Points = (0..500).map(|i| (f64::from(i), 900.0 - f64::from(i))).collect();
        assert!(smoothed(&line).iter().zip(&line).all(|(mean, point)| (mean.1 - point.1).abs() < 1e-9));
        let noise: Points = (0..500).map(|i| (f64::from(i), f64::from(i % 2))).collect();
        assert!(smoothed(&noise)[5..495].iter().all(|p| (p.1 - 0.5).abs() < 0.05));
        assert!(smoothed(&[]).is_empty());
    }

    #[test]
    fn a_logarithmic_axis_has_a_few_round_labels_at_any_range() {
        assert_eq!(log_ticks(&(0.9e-3..20.0)), [0.001, 0.01, 0.1, 1.0, 10.0]);
        assert_eq!(log_ticks(&(0.4..5.5)), [0.5, 1.0, 2.0, 5.0]);
        assert_eq!(
            log_ticks(&(4.1..5.9)),
            [4.2, 4.4, 4.6, 4.8, 5.0, 5.2, 5.4, 5.6, 5.8].map(|x: f64| (x / 0.2).round() * 0.2)
        );
        for range in [0.13..1.35, 0.3..6.0, 4.0..4.6, 0.01..90.0, 0.451..0.452, 5.1..8.9] {
            assert!((4..=12).contains(&log_ticks(&range).len()), "{range:?}: {:?}", log_ticks(&range));
        }
    }

    #[test]
    fn labels_are_short() {
        assert_eq!([thousands(0.0), thousands(12_500.0), thousands(1e6)], ["0", "12,500", "1,000,000"]);
        assert_eq!([short(0.25), short(10.0), short(1.5)], ["0.25", "10", "1.5"]);
    }
}
