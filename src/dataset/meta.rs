//! `meta.json`: what a data folder contains, and how it was prepared.

use super::format::PREPARE_AGAIN;
use crate::files::write_new;
use crate::ingest::SourceReport;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

const VERSION: u32 = 1;

/// How the validation records are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SplitMode {
    /// The last records, in the order of the files
    Chronological,
    /// Records drawn at random, by the seed
    Random,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    pub format_version: u32,
    /// The version of logwright that wrote the folder.
    pub logwright: String,
    /// `char`, `bytes` or `bpe`.
    pub tokenizer: String,
    pub vocab_size: usize,
    /// The token of the newline that ends each record.
    pub separator: u32,
    pub split: SplitMode,
    pub val_fraction: f64,
    pub seed: u64,
    /// The length of the longest record in tokens, including its separator.
    pub longest_record: u64,
    pub train: SplitCounts,
    pub val: SplitCounts,
    pub sources: Vec<SourceReport>,
}

/// The size of one split. Each record counts with its newline; characters are counted as bytes that are not UTF-8
/// continuation bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SplitCounts {
    pub records: u64,
    pub bytes: u64,
    pub characters: u64,
    pub tokens: u64,
    pub shards: u32,
}

impl Meta {
    /// The version of the format, and that of logwright.
    pub(super) fn version() -> (u32, String) {
        (VERSION, env!("CARGO_PKG_VERSION").to_string())
    }

    /// Whether `folder` holds a `meta.json` that `prepare` wrote.
    pub(super) fn is_in(folder: &Path) -> bool {
        fs::read(folder.join("meta.json")).is_ok_and(|text| serde_json::from_slice::<Meta>(&text).is_ok())
    }

    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("meta.json");
        let text = fs::read_to_string(&path).map_err(|e| Error::unreadable(&path, e, PREPARE_AGAIN))?;
        let meta: Meta = serde_json::from_str(&text).map_err(|e| {
            Error::failed(format!("{}: expected the facts that prepare writes: {e}; {PREPARE_AGAIN}", path.display()))
        })?;
        if meta.format_version != VERSION {
            return Err(Error::failed(format!(
                "{}: data format version {}, but this version of logwright reads {VERSION}; run prepare again",
                path.display(),
                meta.format_version
            )));
        }
        meta.check().map_err(|fault| Error::failed(format!("{}: {fault}; {PREPARE_AGAIN}", path.display())))?;
        Ok(meta)
    }

    /// Checks what no other file can be compared with; the counts of tokens and records are compared with the shards and the
    /// index.
    fn check(&self) -> std::result::Result<(), String> {
        if !(self.val_fraction > 0.0 && self.val_fraction < 1.0) {
            return Err(format!("val_fraction is {}, expected a fraction between 0 and 1", self.val_fraction));
        }
        for (name, split) in [("train", &self.train), ("val", &self.val)] {
            let SplitCounts { records, bytes, characters, tokens, shards } = *split;
            // Every record has a newline and a separator; a character has at least one byte, and only the first shard may be empty.
            let ordered = records <= tokens && records <= characters && characters <= bytes;
            if records == 0 || records == u64::MAX || !ordered || shards == 0 || u64::from(shards) > tokens {
                return Err(format!(
                    "the counts of {name} contradict each other ({records} records, {bytes} bytes, {characters} characters, \
                     {tokens} tokens, {shards} shards)"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn save(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(Error::failed)? + "\n";
        write_new(&folder.join("meta.json"), text.as_bytes())
    }
}
