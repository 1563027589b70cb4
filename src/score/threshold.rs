//! The threshold above which a score is an anomaly, learnt from normal records and kept with its model.

use super::aggregate::{Aggregate, Selection};
use super::normal_stats::NormalStats;
use super::session::Grouping;
use super::tail::ScoreTail;
use crate::files::write_atomic;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Name of the file in the folder that `--model` names.
pub const FILE: &str = "calibration.json";
/// Version of the file's layout and of the paths in it. Version 1 knew the fields of web server logs and of syslog by number.
const VERSION: u32 = 2;

/// How scores are made. Scores made in different ways cannot be compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoringMethod {
    pub aggregate: Aggregate,
    pub top_k: usize,
    pub only_field: Vec<String>,
    pub ignore_field: Vec<String>,
    /// How records are grouped into the sessions that are scored; None: records are scored.
    pub group: Option<Grouping>,
}

/// A threshold and what it is based on: `calibration.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    pub version: u32,
    /// CRC-32 of the model's weights and of its tokenizer.
    pub model: String,
    pub method: ScoringMethod,
    /// A score above it is an anomaly.
    pub threshold: f64,
    /// The false-positive rate asked for.
    pub fpr: f64,
    /// Number of scores of normal records (or sessions) that the threshold was learnt from.
    pub scores: u64,
    /// The highest of these scores; absent in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tail: Option<ScoreTail>,
    /// Normal records a day, by their own times, if they have any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_per_day: Option<f64>,
    /// Number of normal records that `normal_stats` was learnt from.
    pub taught: u64,
    /// The statistics of each field in normal records, by path.
    #[serde(rename = "usual")]
    pub normal_stats: NormalStats,
}

impl Calibration {
    pub fn new(folder: &Path, method: ScoringMethod, threshold: f64, fpr: f64) -> Result<Self> {
        let model = checksum(folder)?;
        Ok(Self {
            version: VERSION,
            model,
            method,
            threshold,
            fpr,
            scores: 0,
            tail: None,
            records_per_day: None,
            taught: 0,
            normal_stats: NormalStats::default(),
        })
    }

    /// Takes the scores from which the threshold was learnt.
    pub(super) fn keep_scores(&mut self, scores: &[f64]) {
        (self.scores, self.tail) = (scores.len() as u64, Some(ScoreTail::of(scores)));
    }

    /// The score that at most this fraction of new normal records exceeds; None for a file of an earlier version, which does not
    /// say. Below [`Calibration::resolution`] it is extrapolated.
    pub fn threshold_for(&self, rate: f64) -> Option<f64> {
        self.tail.as_ref().map(|tail| tail.threshold_for(rate))
    }

    /// The least rate that the scores of the calibration resolve.
    pub fn resolution(&self) -> f64 {
        1.0 / (self.scores + 1) as f64
    }

    /// Writes the file atomically.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(Error::failed)? + "\n";
        write_atomic(path, text.as_bytes())
    }

    /// The calibration at `path`; None where the file does not exist.
    ///
    /// Errors: a damaged file; one that was made for another model than the one in `model`.
    pub fn load(path: &Path, model: &Path) -> Result<Option<Self>> {
        let text = match std::fs::read(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", path, e)),
            Ok(text) => text,
        };
        let refuse = |problem: String| {
            Error::failed(format!(
                "{}: {problem}; calibrate again (score --calibrate NORMAL --fpr F), or score without it (--no-calibration)",
                path.display()
            ))
        };
        let found: Self =
            serde_json::from_slice(&text).map_err(|e| refuse(format!("not a complete calibration ({e})")))?;
        found.check().map_err(refuse)?;
        let expected = checksum(model)?;
        if found.model != expected {
            let name = model.display();
            return Err(refuse(format!(
                "made for the model {}, but model.safetensors and tokenizer.json in {name} are {expected}",
                found.model
            )));
        }
        Ok(Some(found))
    }

    /// Checks every number, as nothing that `score --calibrate` writes fails it. The error names the member.
    fn check(&self) -> std::result::Result<(), String> {
        let Calibration { version, method, threshold, fpr, scores, normal_stats, .. } = self;
        match *version {
            VERSION => {}
            1 if !normal_stats.has_numbered_paths() => {}
            1 => return Err("version 1, which knew the fields of text lines by other names".to_string()),
            other => return Err(format!("version {other}, expected {VERSION}")),
        }
        if !threshold.is_finite() {
            return Err(format!("threshold is {threshold}, expected a number"));
        }
        if !(*fpr > 0.0 && *fpr < 1.0) {
            return Err(format!("fpr is {fpr}, expected a fraction between 0 and 1"));
        }
        if *scores == 0 {
            return Err("scores is 0, expected the number of scores that the threshold was learnt from".to_string());
        }
        if self.records_per_day.is_some_and(|pace| !(pace > 0.0 && pace.is_finite())) {
            return Err("records_per_day is not a number above 0".to_string());
        }
        self.tail.as_ref().map_or(Ok(()), |tail| tail.check(*scores))?;
        method.check()?;
        normal_stats.check(self.taught)
    }
}

impl ScoringMethod {
    fn check(&self) -> std::result::Result<(), String> {
        if !(1..=usize::from(u16::MAX)).contains(&self.top_k) {
            return Err(format!("method.top_k is {}, expected 1 to {}", self.top_k, u16::MAX));
        }
        Selection::new(&self.only_field, &self.ignore_field).map_err(|e| format!("method: {e}"))?;
        self.group.as_ref().map_or(Ok(()), Grouping::check)
    }
}

/// CRC-32 of a model folder's weights and tokenizer.
fn checksum(folder: &Path) -> Result<String> {
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    for path in ["model.safetensors", "tokenizer.json"].map(|name| -> PathBuf { folder.join(name) }) {
        let mut file = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
        loop {
            match file.read(&mut buffer).map_err(|e| Error::io("read", &path, e))? {
                0 => break,
                n => hasher.update(&buffer[..n]),
            }
        }
    }
    Ok(format!("{:08x}", hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::session::SessionScore;
    use serde_json::{Value, json};

    #[test]
    fn a_calibration_is_for_its_model_alone() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("model.safetensors"), "weights").unwrap();
        std::fs::write(home.path().join("tokenizer.json"), "{}").unwrap();
        let path = home.path().join(FILE);
        assert_eq!(Calibration::load(&path, home.path()).unwrap(), None);
        let none = Vec::new();
        let method = ScoringMethod {
            aggregate: Aggregate::TopK,
            top_k: 4,
            only_field: none.clone(),
            ignore_field: none,
            group: None,
        };
        let calibration = Calibration::new(home.path(), method, 0.1 + 0.2, 0.01).unwrap();
        let calibration = Calibration { scores: 3, ..calibration };
        calibration.save(&path).unwrap();
        assert_eq!(Calibration::load(&path, home.path()).unwrap(), Some(calibration));
        std::fs::write(home.path().join("tokenizer.json"), "{ }").unwrap();
        let refused = Calibration::load(&path, home.path()).unwrap_err().to_string();
        assert!(refused.contains("made for the model") && refused.contains("calibrate again"), "{refused}");
        std::fs::write(home.path().join("tokenizer.json"), "{}").unwrap();
        std::fs::write(&path, "{").unwrap();
        assert!(Calibration::load(&path, home.path()).unwrap_err().to_string().contains("not a complete calibration"));
    }

    #[test]
    fn a_number_that_no_calibration_has_is_refused_by_name() {
        let group = Grouping {
            by: "user".into(),
            score: SessionScore::Max,
            window: 9,
            seconds: Some(2.0),
            time_field: Some("time".into()),
            open: 8,
        };
        let method = ScoringMethod {
            aggregate: Aggregate::Excess,
            top_k: 5,
            only_field: Vec::new(),
            ignore_field: vec!["*.id".into()],
            group: Some(group),
        };
        let good = json!({
            "version": 1, "model": "0", "method": method, "threshold": -1.5, "fpr": 0.01, "scores": 3, "taught": 4,
            "usual": { "ip": { "count": 4, "mean": 0.5, "deviation": 0.0 } },
        });
        let check = |value: Value| serde_json::from_value::<Calibration>(value).unwrap().check();
        assert_eq!(check(good.clone()), Ok(()));
        for (pointer, value, part) in [
            ("/version", json!(3), "version 3, expected 2"),
            ("/usual/$1", json!({ "count": 4, "mean": 0.5, "deviation": 0.0 }), "version 1, which knew"),
            ("/fpr", json!(0.0), "fpr is 0"),
            ("/fpr", json!(-0.1), "fpr is -0.1"),
            ("/fpr", json!(1.0), "fpr is 1"),
            ("/scores", json!(0), "scores is 0"),
            ("/method/top_k", json!(0), "method.top_k is 0"),
            ("/method/top_k", json!(u64::MAX), "method.top_k is 18446744073709551615"),
            ("/method/ignore_field", json!(["["]), "--ignore-field ["),
            ("/method/group/window", json!(0), "method.group.window is 0"),
            ("/method/group/open", json!(u64::MAX), "method.group.open is 18446744073709551615"),
            ("/method/group/seconds", json!(-1.0), "method.group.seconds is -1"),
            ("/method/group/time_field", Value::Null, "method.group.time_field"),
            ("/usual/ip/count", json!(0), "usual: ip has a count of 0"),
            ("/usual/ip/mean", json!(-0.5), "usual: ip has a mean of -0.5"),
            ("/usual/ip/deviation", json!(-3.0), "usual: ip has a deviation of -3"),
            ("/taught", json!(0), "usual has statistics, but taught is 0"),
        ] {
            let mut bad = good.clone();
            match bad.pointer_mut(pointer) {
                Some(member) => *member = value,
                None => drop(bad["usual"].as_object_mut().unwrap().insert("$1".into(), value)),
            }
            let problem = check(bad).unwrap_err();
            assert!(problem.contains(part), "{pointer}: {problem}");
        }
    }
}
