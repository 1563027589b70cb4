//! The model as a detector of attacks, compared with the baselines.

use super::data::Detected;
use super::groups::groups;
use super::numbers::three;
use crate::Result;
use crate::detect::Detection;
use crate::finding::{Drift, DriftedPath};
use crate::report::detection::{DetectorScores, detection};
use crate::report::html::{cell, section, table};

pub(super) fn detectors(detected: &Detected) -> Result<String> {
    let pairs = detected.methods.iter().zip(&detected.scores);
    let methods: Vec<DetectorScores> = pairs.map(|(detection, scores)| DetectorScores { detection, scores }).collect();
    let cells = |row: &Detection| {
        let ratio = |value: Option<f64>| cell("number", &value.map_or("-".into(), three));
        let kind = cell("", row.kind.as_deref().unwrap_or_default());
        let found = &row.calibrated;
        let count = cell("number", &row.attacks.to_string());
        [kind, count, ratio(row.auroc), ratio(found.recall), ratio(found.precision), ratio(found.f1)].concat()
    };
    let heads = ["attack", "records", "AUROC", "recall", "precision", "F1"];
    let kinds = section(
        "The model on each kind of attack",
        "At the calibrated threshold; every false positive counts against every kind.",
        &table(&heads, detected.kinds.iter().map(cells)),
    );
    let drift = detected.drift.as_ref().map_or(String::new(), drifted);
    Ok(detection(&methods, &detected.attacks)? + &drift + &kinds + &groups(&detected.by))
}

fn drifted(drift: &Drift) -> String {
    let cells = |path: &DriftedPath| {
        let what = if path.is_new { "never seen before" } else { "" };
        [cell("", &path.path), cell("number", &three(path.mean_p_value)), cell("", what)].concat()
    };
    let text = format!(
        "From normal record {} on, the labelled records are unlike those that calibrated: {:.1} % of a window are called anomalies, \
         {:.1} % are usual. The threshold is for other records, then; one half is the usual mean of p-values.",
        drift.since,
        100.0 * drift.flagged,
        100.0 * drift.expected
    );
    section("Drift", &text, &table(&["path", "mean p-value", ""], drift.paths.iter().map(cells)))
}
