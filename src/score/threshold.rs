//! The threshold above which a score is an anomaly, learnt from normal records and kept with its model.

use super::aggregate::{Aggregate, Selection};
use super::course::NormalSessions;
use super::evidence::NormalEvidence;
use super::ranks::Ranks;
use super::session::Grouping;
use crate::files::write_atomic;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Name of the file in the folder that `--model` names.
pub const FILE: &str = "calibration.json";
/// Version of the file. Versions 1 and 2 held means and deviations of fields, of which no p-values can be made; version 3 had no
/// evidence of sessions and of characters.
const VERSION: u32 = 4;

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
    /// The scores of normal records (or sessions) that the threshold was learnt from.
    pub scores: Ranks,
    /// Normal records a day, by their own times, if they have any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_per_day: Option<f64>,
    /// What is normal.
    pub normal: NormalEvidence,
    /// How normal sessions go, where sessions are scored by evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<NormalSessions>,
}

impl Calibration {
    /// Errors: the files of the model in `folder` cannot be read.
    pub fn new(
        folder: &Path,
        method: ScoringMethod,
        (threshold, fpr): (f64, f64),
        scores: Ranks,
        normal: NormalEvidence,
    ) -> Result<Self> {
        let (version, model, records_per_day) = (VERSION, checksum(folder)?, None);
        Ok(Self { version, model, method, threshold, fpr, scores, records_per_day, normal, sessions: None })
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
        let damaged = |e: serde_json::Error| refuse(format!("not a complete calibration ({e})"));
        // Files of other versions have other members, so the version is looked at first.
        let AnyVersion { version } = serde_json::from_slice(&text).map_err(damaged)?;
        if version != VERSION {
            return Err(refuse(format!("version {version}, expected {VERSION}")));
        }
        let found: Self = serde_json::from_slice(&text).map_err(damaged)?;
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
        let Calibration { method, threshold, fpr, scores, normal, sessions, .. } = self;
        if !threshold.is_finite() {
            return Err(format!("threshold is {threshold}, expected a number"));
        }
        if !(*fpr > 0.0 && *fpr < 1.0) {
            return Err(format!("fpr is {fpr}, expected a fraction between 0 and 1"));
        }
        if scores.count() == 0 {
            return Err("scores is empty, expected the scores that the threshold was learnt from".to_string());
        }
        scores.check().map_err(|e| format!("scores: {e}"))?;
        if self.records_per_day.is_some_and(|pace| !(pace > 0.0 && pace.is_finite())) {
            return Err("records_per_day is not a number above 0".to_string());
        }
        method.check()?;
        if sessions.is_some() != method.weighs_sessions() {
            return Err(
                "sessions: expected where records are grouped and scored by evidence, and only there".to_string()
            );
        }
        sessions.as_ref().map_or(Ok(()), NormalSessions::check).map_err(|e| format!("sessions: {e}"))?;
        normal.check().map_err(|e| format!("normal: {e}"))
    }
}

#[derive(Deserialize)]
struct AnyVersion {
    version: u32,
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
    use crate::detect::Observed;
    use crate::score::learn::{Example, learn};
    use crate::score::lesson::Lesson;
    use crate::score::ranks::Sorted;
    use crate::score::session::SessionScore;
    use serde_json::{Value, json};

    /// What three records say, and their scores.
    fn learnt() -> (NormalEvidence, Ranks) {
        let example = |nats: f32| Example {
            lesson: Lesson {
                layout: 7,
                fields: vec![(0, nats)],
                observed: Observed::of(br#"{"ip":"x"}"#),
                places: vec![0],
                ..Lesson::default()
            },
            paths: vec![0],
        };
        let examples = [1.0, 2.0, 3.0].map(example);
        let examples: Vec<&Example> = examples.iter().collect();
        let (normal, scores) = learn(&examples, &["ip".to_string()], &Default::default(), &[]);
        (normal, Ranks::of(&Sorted::of(scores.iter().map(|own| own.score as f32))))
    }

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
        let (normal, scores) = learnt();
        let calibration = Calibration::new(home.path(), method, (0.1 + 0.2, 0.01), scores, normal).unwrap();
        calibration.save(&path).unwrap();
        assert_eq!(Calibration::load(&path, home.path()).unwrap(), Some(calibration));
        std::fs::write(home.path().join("tokenizer.json"), "{ }").unwrap();
        let refused = Calibration::load(&path, home.path()).unwrap_err().to_string();
        assert!(refused.contains("made for the model") && refused.contains("calibrate again"), "{refused}");
        std::fs::write(home.path().join("tokenizer.json"), "{}").unwrap();
        let old = r#"{"version": 2, "threshold": 1.0, "usual": {}}"#;
        std::fs::write(&path, old).unwrap();
        let refused = Calibration::load(&path, home.path()).unwrap_err().to_string();
        assert!(refused.contains("version 2, expected 4; calibrate again"), "{refused}");
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
            aggregate: Aggregate::Evidence,
            top_k: 5,
            only_field: Vec::new(),
            ignore_field: vec!["*.id".into()],
            group: Some(group),
        };
        let (normal, scores) = learnt();
        let sessions = NormalSessions::learn(&[vec![(&Lesson::default(), None)]], &[1.0]).0;
        let good = json!({
            "version": 4, "model": "0", "method": method, "threshold": -1.5, "fpr": 0.01, "scores": scores, "normal": normal,
            "sessions": sessions,
        });
        let check = |value: Value| serde_json::from_value::<Calibration>(value).unwrap().check();
        assert_eq!(check(good.clone()), Ok(()));
        for (pointer, value, part) in [
            ("/fpr", json!(0.0), "fpr is 0"),
            ("/fpr", json!(-0.1), "fpr is -0.1"),
            ("/fpr", json!(1.0), "fpr is 1"),
            ("/scores/steps", json!([]), "scores is empty"),
            ("/scores/steps", json!([[2.0, 1], [1.0, 2]]), "scores: expected steps"),
            ("/scores/tail", json!(0.5), "scores: tail is 0.5"),
            ("/method/top_k", json!(0), "method.top_k is 0"),
            ("/method/top_k", json!(u64::MAX), "method.top_k is 18446744073709551615"),
            ("/method/ignore_field", json!(["["]), "--ignore-field ["),
            ("/method/group/window", json!(0), "method.group.window is 0"),
            ("/method/group/open", json!(u64::MAX), "method.group.open is 18446744073709551615"),
            ("/method/group/seconds", json!(-1.0), "method.group.seconds is -1"),
            ("/method/group/time_field", Value::Null, "method.group.time_field"),
            ("/sessions", Value::Null, "sessions: expected where records are grouped"),
            ("/sessions/kinds", json!([]), "sessions: kinds: found 0, expected 6"),
            ("/sessions/records/tail", json!(0.0), "sessions: records: tail is 0"),
            ("/normal/paths/ip/count", json!(0), "normal: paths: ip has a count of 0"),
            ("/normal/paths/ip/spread", json!(0.5), "normal: paths: ip has a spread of 0.5"),
            ("/normal/paths/ip/mean", json!(-0.5), "normal: paths: ip has a mean of -0.5"),
            ("/normal/rare_paths/tail", json!(-1), "normal: rare_paths: tail is -1"),
            ("/normal/fields/steps", json!([[1.0, 0]]), "normal: fields: expected steps"),
            ("/normal/kinds", json!([]), "normal: kinds: found 0, expected 6"),
            ("/normal/kinds/2/common/tail", json!(0), "normal: kinds: distance: tail is 0"),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = value;
            let problem = check(bad).unwrap_err();
            assert!(problem.contains(part), "{pointer}: {problem}");
        }
    }
}
