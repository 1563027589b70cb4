//! The threshold above which a score is an anomaly, learnt from normal records and kept with its model.

use super::aggregate::Aggregate;
use super::normal_stats::NormalStats;
use super::session::Grouping;
use crate::files::write_atomic;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Name of the file in the folder that `--model` names.
pub const FILE: &str = "calibration.json";
/// Version of the file's layout.
const VERSION: u32 = 1;

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
            taught: 0,
            normal_stats: NormalStats::default(),
        })
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
        if found.version != VERSION {
            return Err(refuse(format!("version {}, expected {VERSION}", found.version)));
        }
        let expected = checksum(model)?;
        if found.model != expected {
            let name = model.display();
            return Err(refuse(format!("made for the model {}, but {name} is {expected}", found.model)));
        }
        Ok(Some(found))
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
        calibration.save(&path).unwrap();
        assert_eq!(Calibration::load(&path, home.path()).unwrap(), Some(calibration));
        std::fs::write(home.path().join("tokenizer.json"), "{ }").unwrap();
        let refused = Calibration::load(&path, home.path()).unwrap_err().to_string();
        assert!(refused.contains("made for the model") && refused.contains("calibrate again"), "{refused}");
        std::fs::write(&path, "{").unwrap();
        assert!(Calibration::load(&path, home.path()).unwrap_err().to_string().contains("not a complete calibration"));
    }
}
