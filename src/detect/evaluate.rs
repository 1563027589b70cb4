//! One row of the table of detectors: thresholds and what they reach on labelled records.

use super::metrics::{Confusion, Ranking};
use super::normal::{NAMES, Normal};
use super::observed::Observed;
use crate::{Error, Result};
use serde::Serialize;
use std::collections::BTreeSet;

/// Each kind of attack is evaluated separately; more kinds than these are a mistake in the labels.
pub const MOST_KINDS: usize = 1000;

/// What a detector achieves when a score above `threshold` is called an anomaly. A ratio with denominator 0 is None.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AtThreshold {
    pub threshold: f64,
    pub precision: Option<f64>,
    pub recall: Option<f64>,
    pub f1: Option<f64>,
    pub false_positive_rate: Option<f64>,
    #[serde(flatten)]
    pub confusion: Confusion,
}

impl AtThreshold {
    fn new(ranking: &Ranking, threshold: f64) -> Self {
        let confusion = ranking.confusion(threshold);
        AtThreshold {
            threshold,
            precision: confusion.precision(),
            recall: confusion.recall(),
            f1: confusion.f1(),
            false_positive_rate: confusion.false_positive_rate(),
            confusion,
        }
    }
}

/// How one detector does on labelled records.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detection {
    /// The detector's name; empty until the caller sets it.
    pub method: String,
    /// The kind of attack that this is about; None: all kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    pub attacks: u64,
    pub normals: u64,
    pub auroc: Option<f64>,
    /// Average precision.
    pub auprc: Option<f64>,
    /// The false-positive rate that the threshold was calibrated for.
    pub asked_rate: f64,
    /// Number of normal scores that it was calibrated on.
    pub calibrated_on: u64,
    /// With the threshold that was calibrated on normal data only.
    pub calibrated: AtThreshold,
    /// With the threshold of the highest F1, chosen with the labels; None where a class is empty.
    pub best: Option<AtThreshold>,
}

/// A detector's metrics on `scores` and `attacks` (records), its threshold calibrated on `normal` scores for the
/// false-positive rate `rate`.
///
/// # Errors
/// No scores of normal data, a score that is not a number, a rate outside 0..1.
pub fn evaluate(scores: &[f64], attacks: &[bool], normal: &[f64], rate: f64) -> Result<Detection> {
    let ranking = Ranking::new(scores, attacks)?;
    Ok(Detection {
        method: String::new(),
        kind: None,
        attacks: ranking.attacks,
        normals: ranking.normals,
        auroc: ranking.auroc(),
        auprc: ranking.average_precision(),
        asked_rate: rate,
        calibrated_on: normal.len() as u64,
        calibrated: AtThreshold::new(&ranking, threshold(normal, rate)?.0),
        best: ranking.best_threshold().map(|best| AtThreshold::new(&ranking, best)),
    })
}

/// The conformal threshold: the k-th smallest of the n normal scores with k = ceil((n + 1) (1 - rate)). A new normal
/// score, drawn like them, lies above it with a chance of at most `rate` (split conformal prediction; Vovk, Gammerman and
/// Shafer, 2005; Papadopoulos et al., 2002).
///
/// With fewer than 1/rate - 1 scores there is no such k; then the largest score is taken, and the chance is 1/(n + 1). The
/// flag says whether there were enough scores.
///
/// # Errors
/// No scores, one that is not a number, a rate outside 0..1.
pub fn threshold(normal: &[f64], rate: f64) -> Result<(f64, bool)> {
    if !(rate > 0.0 && rate < 1.0) {
        return Err(Error::usage(format!("the false-positive rate must lie between 0 and 1, found {rate}")));
    }
    if normal.is_empty() || normal.iter().any(|score| score.is_nan()) {
        let found = if normal.is_empty() { "none" } else { "one that is not a number (NaN)" };
        return Err(Error::failed(format!("a threshold is calibrated on scores of normal records, found {found}")));
    }
    let mut sorted = normal.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = rank(sorted.len(), rate);
    Ok((sorted[rank.min(sorted.len()) - 1], rank <= sorted.len()))
}

/// k of [`threshold`], from 1; more than n where no such k exists.
fn rank(n: usize, rate: f64) -> usize {
    // Computed as (n + 1) - floor((n + 1) rate), with a tolerance for the rounding error of the product: 1000 x 0.001 must
    // be one, not slightly less.
    let allowed = (n + 1) as f64 * rate;
    (n + 1 - (allowed * (1.0 + 4.0 * f64::EPSILON)).floor() as usize).max(1)
}

/// Records for the baselines.
pub struct Samples<'a> {
    /// Normal ones to learn from.
    pub fit: &'a [Observed],
    /// Normal ones to calibrate thresholds on; may be `fit` itself, but thresholds are then too low.
    pub calibrate: &'a [Observed],
    /// Labelled ones.
    pub test: &'a [Observed],
    /// (test)
    pub attacks: &'a [bool],
}

/// The rows of the baselines with their scores (test).
///
/// # Errors
/// As [`evaluate`].
pub fn baselines(samples: &Samples, rate: f64) -> Result<Vec<(Detection, Vec<f64>)>> {
    assert_eq!(samples.test.len(), samples.attacks.len());
    let normal = Normal::learn(samples.fit.iter());
    let columns = |records: &[Observed]| records.iter().map(|r| normal.novelty(r, false).columns).collect::<Vec<_>>();
    let (calibrate, test) = (columns(samples.calibrate), columns(samples.test));
    let row = |(which, name): (usize, &&str)| {
        let column = |scores: &[[f64; 6]]| scores.iter().map(|all| all[which]).collect::<Vec<_>>();
        let scores = column(&test);
        let detection = evaluate(&scores, samples.attacks, &column(&calibrate), rate)?;
        Ok((Detection { method: name.to_string(), ..detection }, scores))
    };
    NAMES.iter().enumerate().map(row).collect()
}

/// The detector's metrics on each kind of attack alone, against all normal records, sorted by kind. Precision and F1 of a kind
/// count every false positive.
///
/// # Errors
/// As [`evaluate`]; more than [`MOST_KINDS`] kinds.
pub fn by_kind(scores: &[f64], kinds: &[Option<String>], normal: &[f64], rate: f64) -> Result<Vec<Detection>> {
    assert_eq!(scores.len(), kinds.len());
    let names: BTreeSet<&String> = kinds.iter().flatten().collect();
    if names.len() > MOST_KINDS {
        return Err(Error::failed(format!(
            "the labels name {} kinds of attack, expected at most {MOST_KINDS}; check that they come from the right \
             field",
            names.len()
        )));
    }
    let of_kind = |name: &String| {
        let counts = |record: &usize| kinds[*record].as_ref().is_none_or(|kind| kind == name);
        let records: Vec<usize> = (0..scores.len()).filter(counts).collect();
        let scores: Vec<f64> = records.iter().map(|&record| scores[record]).collect();
        let attacks: Vec<bool> = records.iter().map(|&record| kinds[record].is_some()).collect();
        Ok(Detection { kind: Some(name.clone()), ..evaluate(&scores, &attacks, normal, rate)? })
    };
    names.into_iter().map(of_kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<Observed> {
        texts.iter().map(|text| Observed::of(text.as_bytes())).collect()
    }

    #[test]
    fn the_threshold_is_the_conformal_quantile() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        // k = ceil(101 x 0.9) = 91, ceil(101 x 0.95) = 96, ceil(101 x 0.5) = 51.
        assert_eq!([0.1, 0.05, 0.5].map(|rate| threshold(&hundred, rate).unwrap().0), [91.0, 96.0, 51.0]);
        // 1 of 101 is allowed at most: the largest; below that there is no k, and the largest is taken too.
        assert_eq!([0.0099, 0.01, 0.001].map(|rate| threshold(&hundred, rate).unwrap().0), [100.0, 100.0, 100.0]);
        assert_eq!([rank(999, 0.001), rank(998, 0.001), rank(6096, 0.001)], [999, 999, 6091]);
    }

    #[test]
    fn a_calibrated_threshold_keeps_its_rate_on_new_normal_scores() {
        // 99 scores, rate 0.1: of the 100 places that a new score can take among them, 10 are above the threshold.
        let scores: Vec<f64> = (1..=99).map(f64::from).collect();
        let threshold = threshold(&scores, 0.1).unwrap().0;
        assert_eq!((0..100).filter(|place| f64::from(*place) + 0.5 > threshold).count(), 10);
    }

    #[test]
    fn what_cannot_be_calibrated_is_refused() {
        assert!(threshold(&[], 0.1).unwrap_err().to_string().contains("none"));
        assert!(threshold(&[1.0, f64::NAN], 0.1).unwrap_err().to_string().contains("NaN"));
        for rate in [0.0, 1.0, -0.5, f64::NAN] {
            assert_eq!(threshold(&[1.0], rate).unwrap_err().exit_code(), 2, "{rate}");
        }
    }

    #[test]
    fn a_row_has_both_thresholds() {
        let normal: Vec<f64> = (0..9).map(f64::from).collect();
        let row = evaluate(&[9.0, 8.0, 7.5, 1.0], &[true, false, true, false], &normal, 0.2).unwrap();
        // k = ceil(10 x 0.8) = 8: threshold 7, above it three records.
        assert_eq!(row.calibrated.threshold, 7.0);
        let confusion = |found: &AtThreshold| {
            let c = found.confusion;
            (c.true_positives, c.false_positives, c.false_negatives, c.true_negatives)
        };
        assert_eq!(confusion(&row.calibrated), (2, 1, 0, 1));
        assert_eq!((row.calibrated.precision, row.calibrated.f1), (Some(2.0 / 3.0), Some(0.8)));
        assert_eq!(row.best.as_ref().map(confusion), Some((2, 1, 0, 1)));
        assert_eq!((row.auroc, row.calibrated_on), (Some(0.75), 9));
        let json = serde_json::to_value(&row).unwrap();
        assert_eq!((&json["calibrated"]["false_positives"], &json["best"]["recall"]), (&1.into(), &1.0.into()));
    }

    #[test]
    fn a_kind_is_measured_against_all_normal_records() {
        let kinds = [Some("spray"), None, Some("travel"), None, Some("spray")].map(|k| k.map(String::from));
        let rows = by_kind(&[5.0, 1.0, 0.5, 2.0, 1.5], &kinds, &[1.0, 2.0, 3.0], 0.5).unwrap();
        let seen: Vec<_> = rows.iter().map(|r| (r.kind.as_deref(), r.attacks, r.normals, r.auroc)).collect();
        assert_eq!(seen, [(Some("spray"), 2, 2, Some(0.75)), (Some("travel"), 1, 2, Some(0.0))]);
        let too_many: Vec<_> = (0..=MOST_KINDS).map(|kind| Some(kind.to_string())).collect();
        assert!(by_kind(&vec![0.0; too_many.len()], &too_many, &[1.0], 0.5).is_err());
    }

    #[test]
    fn baselines_are_rows_of_their_own() {
        let (fit, test) = (lines(&["a b", "a b", "a b", "b a"]), lines(&["a b", "x b", "a a b"]));
        let samples = Samples { fit: &fit, calibrate: &fit, test: &test, attacks: &[false, true, true] };
        let rows: Vec<_> = baselines(&samples, 0.3).unwrap().into_iter().map(|(row, _)| row).collect();
        let found: Vec<_> =
            rows.iter().map(|row| (row.method.as_str(), row.calibrated.confusion.true_positives)).collect();
        assert_eq!(found[..3], [("unseen events", 1), ("unseen count vector", 2), ("distance of count vectors", 2)]);
        assert!(rows.iter().all(|row| row.calibrated.confusion.false_positives == 0));
    }
}
