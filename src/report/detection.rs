//! Labelled detection as a section of an HTML page: the table of detectors, ROC and precision-recall curves, and histograms of
//! scores.

use super::curve::{self, Area, Drawn, GRID, INK};
use super::html::escape;
use crate::detect::{AtThreshold, Detection, Ranking};
use crate::{Error, Result};
use plotters::prelude::*;
use std::fmt::Write;
use std::ops::Range;

const SIDE: u32 = 460;
/// Maximum number of points of a curve, evenly picked.
const POINTS: usize = 400;
const BARS: usize = 40;
const NORMAL: RGBColor = RGBColor(37, 99, 235);
const ATTACK: RGBColor = RGBColor(220, 38, 38);
/// Colours of the methods' curves in their order, then from the first again; people with colour blindness can distinguish them
/// (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(150, 110, 0),
];

/// A detector's metrics and scores on labelled records.
#[derive(Clone, Debug)]
pub struct DetectorScores<'a> {
    pub detection: &'a Detection,
    /// (records)
    pub scores: &'a [f64],
}

/// The fragment: `<section>` with table and pictures, for a page with the style of the report. `attacks` (records) are
/// the labels; the first method is the one whose scores the histogram shows.
///
/// # Errors
/// A score that is not a number.
pub fn detection(methods: &[DetectorScores], attacks: &[bool]) -> Result<String> {
    let mut rankings = vec![];
    for method in methods {
        rankings.push((method.detection.method.as_str(), Ranking::new(method.scores, attacks)?));
    }
    let rows: Vec<&Detection> = methods.iter().map(|method| method.detection).collect();
    let mut out = format!("<section class=\"detection\">\n<h2>Detection</h2>\n{}{}", summary(&rows), table(&rows));
    let roc: NamedCurves = rankings.iter().map(|(name, ranking)| (*name, ranking.roc())).collect();
    let precision: NamedCurves = rankings.iter().map(|(name, ranking)| (*name, ranking.precision_recall())).collect();
    if roc.iter().any(|(_, points)| !points.is_empty()) {
        let roc = curves("ROC", ["false positive rate", "recall"], &roc, true)?;
        // It has the colours of the other picture, which has room for the legend.
        let precision = curves("Precision and recall", ["recall", "precision"], &precision, false)?;
        let _ = write!(out, "<div class=\"pair\">\n<figure>\n{roc}</figure>\n<figure>\n{precision}</figure>\n</div>\n");
    }
    if let Some(method) = methods.first() {
        let picture = histogram(method, attacks)?;
        let _ = write!(out, "<figure>\n{picture}</figure>\n");
    }
    out.push_str("</section>\n");
    Ok(out)
}

fn summary(rows: &[&Detection]) -> String {
    let Some(row) = rows.first() else { return "<p>No detector was evaluated.</p>\n".into() };
    let counts: Vec<String> = rows
        .chunk_by(|a, b| a.calibrated_on == b.calibrated_on)
        .map(|same| {
            let (first, last) = (&same[0], &same[same.len() - 1]);
            let to = if same.len() > 1 { format!(" to {}", escape(&last.method)) } else { String::new() };
            format!("{}{to}: {}", escape(&first.method), first.calibrated_on)
        })
        .collect();
    format!(
        "<p>{} records, {} of them attacks. Calibrated: the threshold was set on scores of normal records ({}) for a \
         false-positive rate of {}, without the labels. Best: the threshold of the highest F1, which is chosen with \
         them.</p>\n",
        row.attacks + row.normals,
        row.attacks,
        counts.join(", "),
        row.asked_rate
    )
}

fn table(rows: &[&Detection]) -> String {
    let names = ["precision", "recall", "F1", "TP", "FP", "FN", "TN"].map(|name| format!("<th>{name}</th>")).concat();
    let mut out = format!(
        "<div class=\"wide\"><table>\n<thead><tr><th rowspan=\"2\">method</th><th rowspan=\"2\">AUROC</th>\
         <th rowspan=\"2\">AUPRC</th><th colspan=\"7\">calibrated threshold</th><th colspan=\"7\">best threshold</th>\
         </tr>\n<tr>{names}{names}</tr></thead>\n<tbody>\n"
    );
    for row in rows {
        let areas = [row.auroc, row.auprc].map(number).concat();
        let (calibrated, best) = (cells(Some(&row.calibrated)), cells(row.best.as_ref()));
        let _ = writeln!(out, "<tr><th>{}</th>{areas}{calibrated}{best}</tr>", escape(&row.method));
    }
    out + "</tbody>\n</table></div>\n"
}

fn number(value: Option<f64>) -> String {
    value.map_or("<td>-</td>".into(), |value| format!("<td>{value:.3}</td>"))
}

fn cells(found: Option<&AtThreshold>) -> String {
    let Some(found) = found else { return "<td>-</td>".repeat(7) };
    let table = found.confusion;
    let counts = [table.true_positives, table.false_positives, table.false_negatives, table.true_negatives];
    let ratios = [found.precision, found.recall, found.f1].map(number).concat();
    ratios + &counts.map(|count| format!("<td>{count}</td>")).concat()
}

/// An SVG picture of this size, drawn by `draw`.
fn picture(size: (u32, u32), draw: impl FnOnce(&Area) -> Drawn) -> Result<String> {
    let mut text = String::new();
    let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
    let drawn = root.fill(&WHITE).map_err(Into::into).and_then(|()| draw(&root)).and_then(|()| Ok(root.present()?));
    drawn.map_err(|e| Error::failed(format!("cannot draw the detection curves: {e}")))?;
    drop(root);
    Ok(text)
}

/// (name, points) of each curve.
type NamedCurves<'a> = Vec<(&'a str, Vec<(f64, f64)>)>;

/// One line per method in the unit square.
fn curves(title: &str, axes: [&str; 2], lines: &NamedCurves, legend: bool) -> Result<String> {
    picture((SIDE, SIDE), |root| {
        let mut chart = ChartBuilder::on(root)
            .caption(title, ("sans-serif", 17).into_font().color(&INK))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(48)
            .build_cartesian_2d(-0.01..1.01, -0.01..1.01)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(INK.mix(0.6))
            .label_style(("sans-serif", 12).into_font().color(&INK))
            .axis_desc_style(("sans-serif", 13).into_font().color(&INK))
            .x_desc(axes[0])
            .y_desc(axes[1])
            .x_labels(6)
            .y_labels(6)
            .draw()?;
        for (at, (name, points)) in lines.iter().enumerate() {
            let style = COLOURS[at % COLOURS.len()].stroke_width(2);
            chart
                .draw_series(LineSeries::new(thinned(points), style))?
                .label(*name)
                .legend(move |at| curve::key(at, style));
        }
        if legend {
            curve::legend(&mut chart, SeriesLabelPosition::LowerRight)?;
        }
        Ok(())
    })
}

/// At most about [`POINTS`] points, including the first and the last.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(POINTS).max(1);
    let kept = points.iter().enumerate().filter(|(at, _)| at % step == 0 || at + 1 == points.len());
    kept.map(|(_, point)| *point).collect()
}

/// Distribution of the scores of normal records and of attacks, and the calibrated threshold.
fn histogram(method: &DetectorScores, attacks: &[bool]) -> Result<String> {
    let range = score_range(method);
    let shares = [false, true].map(|kind| {
        let scores: Vec<f64> = (0..attacks.len()).filter(|&i| attacks[i] == kind).map(|i| method.scores[i]).collect();
        shares(&scores, &range)
    });
    let highest = shares.iter().flatten().fold(0.0f64, |top, share| top.max(*share));
    // Room for the legend above the bars.
    let top = if highest > 0.0 { 1.4 * highest } else { 1.0 };
    let threshold = method.detection.calibrated.threshold;
    picture((2 * SIDE, 340), |root| {
        let mut chart = ChartBuilder::on(root)
            .caption(format!("Scores: {}", method.detection.method), ("sans-serif", 17).into_font().color(&INK))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d(range.clone(), 0.0..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(INK.mix(0.6))
            .label_style(("sans-serif", 12).into_font().color(&INK))
            .axis_desc_style(("sans-serif", 13).into_font().color(&INK))
            .x_desc("score")
            .y_desc("share of its class")
            .y_label_formatter(&|share| format!("{:.0} %", 100.0 * share))
            .draw()?;
        let width = (range.end - range.start) / BARS as f64;
        for (share, colour, name) in [(&shares[0], NORMAL, "normal"), (&shares[1], ATTACK, "attack")] {
            let bar = |(at, share): (usize, &f64)| {
                let left = range.start + at as f64 * width;
                Rectangle::new([(left, 0.0), (left + width, *share)], colour.mix(0.5).filled())
            };
            chart
                .draw_series(share.iter().enumerate().filter(|(_, share)| **share > 0.0).map(bar))?
                .label(name)
                .legend(move |at| curve::key(at, colour.mix(0.6).stroke_width(8)));
        }
        if range.contains(&threshold) {
            let line = [(threshold, 0.0), (threshold, top)];
            let style = INK.stroke_width(2);
            chart
                .draw_series(LineSeries::new(line, style))?
                .label("calibrated threshold")
                .legend(move |at| curve::key(at, style));
        }
        curve::legend(&mut chart, SeriesLabelPosition::UpperRight)?;
        Ok(())
    })
}

/// From the lowest to the highest finite score or threshold, a little wider than them.
fn score_range(method: &DetectorScores) -> Range<f64> {
    let all = method.scores.iter().chain([&method.detection.calibrated.threshold]).filter(|score| score.is_finite());
    let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), score| (l.min(*score), h.max(*score)));
    if low > high {
        return 0.0..1.0;
    }
    let air = ((high - low) * 0.02).max(high.abs().max(low.abs()) * 1e-6).max(1e-6);
    low - air..high + air
}

/// Fraction of the scores in each of [`BARS`] equal parts of the range; infinite ones are counted at its ends.
fn shares(scores: &[f64], range: &Range<f64>) -> Vec<f64> {
    let mut bars = vec![0.0; BARS];
    for score in scores {
        let place = (score.clamp(range.start, range.end) - range.start) / (range.end - range.start);
        bars[((place * BARS as f64) as usize).min(BARS - 1)] += 1.0 / scores.len() as f64;
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::evaluate;

    fn rendered(name: &str, scores: &[f64], attacks: &[bool]) -> String {
        let row = evaluate(scores, attacks, &[1.0, 2.0, 3.0], 0.3).unwrap();
        let row = Detection { method: name.into(), ..row };
        detection(&[DetectorScores { detection: &row, scores }, DetectorScores { detection: &row, scores }], attacks)
            .unwrap()
    }

    #[test]
    fn the_table_has_the_numbers_and_the_pictures_their_lines() {
        let scores: Vec<f64> = (0..3000).map(|i| f64::from(i % 97) / 10.0).collect();
        let attacks: Vec<bool> = (0..3000).map(|i| i % 97 > 90).collect();
        let page = rendered("the model", &scores, &attacks);
        assert_eq!(page.matches("<svg").count(), 3);
        assert_eq!(page.matches("<tr><th>the model</th><td>1.000</td><td>1.000</td>").count(), 2);
        for words in ["false positive rate", "share of its class", "calibrated threshold", "\nattack\n"] {
            assert!(page.contains(words), "no {words:?}");
        }
        assert!(page.len() < 120_000, "{} bytes", page.len());
    }

    #[test]
    fn odd_scores_are_drawn_too() {
        for (scores, attacks) in [
            (vec![], vec![]),
            (vec![1.0], vec![false]),
            (vec![2.0; 4], vec![true, false, true, false]),
            (vec![f64::INFINITY, 1.0, f64::NEG_INFINITY], vec![true, false, false]),
            (vec![1e300, -1e300], vec![true, false]),
        ] {
            let page = rendered("m", &scores, &attacks);
            assert!(page.ends_with("</section>\n") && !page.contains("NaN"), "{scores:?}");
        }
        assert!(detection(&[], &[]).unwrap().contains("No detector"));
        let endless = [f64::INFINITY];
        let row = evaluate(&endless, &[true], &endless, 0.5).unwrap();
        assert_eq!(score_range(&DetectorScores { detection: &row, scores: &endless }), 0.0..1.0);
    }

    #[test]
    fn a_name_is_no_markup() {
        let page = rendered("<b>&", &[1.0, 2.0], &[false, true]);
        assert!(!page.contains("<b>") && page.contains("&lt;b&gt;&amp;"), "{page}");
    }

    #[test]
    fn bars_are_shares_of_their_class() {
        let bars = shares(&[0.0, 0.1, 9.99, 10.0, f64::INFINITY], &(0.0..10.0));
        assert!((bars[0] - 0.4).abs() < 1e-12 && (bars[BARS - 1] - 0.6).abs() < 1e-12);
        assert_eq!(shares(&[], &(0.0..1.0)), [0.0; BARS]);
    }

    #[test]
    fn thinning_keeps_both_ends() {
        let points: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), 0.0)).collect();
        let kept = thinned(&points);
        assert!(kept.len() <= POINTS + 1 && kept[0] == points[0] && kept.last() == points.last());
    }
}
