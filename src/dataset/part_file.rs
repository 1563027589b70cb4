//! `part.json`: what a part folder contains, and how it was made.

use super::meta::SplitMode;
use super::options::PrepareOptions;
use crate::files::write_new;
use crate::ingest::{BadRecords, InputFormat, InputShare, ReadReport, RecordStart};
use crate::launch::Part;
use crate::record::{OpenedReport, Opening, Prefix};
use crate::tokens::TokenizerKind;
use crate::{Error, Result, version};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

pub(super) const FILE: &str = "part.json";
const VERSION: u32 = 1;

/// The remedy for a damaged part folder, at the end of error messages.
pub(super) const AGAIN: &str = "the part is damaged or mixed up: prepare it again with --overwrite";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PartFile {
    pub format_version: u32,
    /// The version of logwright that wrote the folder, and its commit.
    pub logwright: String,
    /// Which part of how many.
    pub part: String,
    pub flags: Flags,
    pub inputs: Vec<InputShare>,
    pub read: Counts,
    pub records: Spool,
    /// The characters of the records, for a tokenizer of characters.
    pub characters: Option<String>,
    /// A checksum of all this, with 0 in its place.
    crc32: u32,
}

/// The flags of `prepare` that decide what a data folder holds, by their names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Flags {
    pub format: Option<InputFormat>,
    pub record_start: Option<String>,
    pub open: Opening,
    pub bad_records: BadRecords,
    pub max_record_bytes: u64,
    pub prefix_field: Vec<Prefix>,
    pub tokenizer: TokenizerKind,
    /// A checksum of that tokenizer.
    pub tokenizer_from: Option<u32>,
    pub replace_unknown: Option<char>,
    pub vocab_size: Option<usize>,
    pub val_fraction: f64,
    pub split: SplitMode,
    pub seed: u64,
    pub pseudonymise: bool,
    pub canaries: usize,
}

/// What was read, as in [`ReadReport`], without what stands with the inputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counts {
    pub empty_lines: u64,
    pub bad_records: u64,
    pub bad_places: Vec<String>,
    pub nul_records: u64,
    pub invalid_utf8_records: u64,
    pub lossy_rows: u64,
    pub missing_prefix: Vec<u64>,
    /// A noun, what follows it, and its number.
    pub announced: Vec<(String, String, u64)>,
    pub opened: BTreeMap<String, u64>,
    pub left_closed: u64,
    pub record_starts: BTreeSet<String>,
}

/// The file of the records.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spool {
    pub count: u64,
    pub bytes: u64,
    pub crc32: u32,
}

impl Flags {
    /// `existing` is the checksum of the tokenizer that is used instead of a new one.
    pub fn of(options: &PrepareOptions, existing: Option<u32>) -> Self {
        let read = &options.read;
        Flags {
            format: read.format,
            record_start: match &read.record_start {
                RecordStart::Find => None,
                RecordStart::Lines => Some(String::new()),
                RecordStart::Pattern(start) => Some(start.as_str().to_string()),
            },
            open: read.open.clone(),
            bad_records: read.bad_records,
            max_record_bytes: read.max_record_bytes as u64,
            prefix_field: read.prefixes.clone(),
            tokenizer: options.tokenizer,
            tokenizer_from: existing,
            replace_unknown: options.replace_unknown,
            vocab_size: options.vocab_size,
            val_fraction: options.val_fraction,
            split: options.split,
            seed: options.seed,
            pseudonymise: options.pseudonymise.is_some(),
            canaries: options.canaries,
        }
    }

    /// The name of a flag that has another value in `other`.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let members = |flags: &Self| match serde_json::to_value(flags) {
            Ok(serde_json::Value::Object(members)) => members,
            _ => unreachable!("flags are an object with plain values"),
        };
        let (own, other) = (members(self), members(other));
        own.into_iter().find(|(name, value)| other.get(name) != Some(value)).map(|(name, _)| format!("--{name}"))
    }
}

impl Counts {
    pub fn of(report: &ReadReport) -> Self {
        let announced = report.announced.iter();
        Counts {
            empty_lines: report.empty_lines,
            bad_records: report.bad_records,
            bad_places: report.bad_places.clone(),
            nul_records: report.nul_records,
            invalid_utf8_records: report.invalid_utf8_records,
            lossy_rows: report.lossy_rows,
            missing_prefix: report.missing_prefix.clone(),
            announced: announced.map(|((noun, rest), n)| (noun.to_string(), rest.to_string(), *n)).collect(),
            opened: report.opened.opened.clone(),
            left_closed: report.opened.left,
            record_starts: report.record_starts.clone(),
        }
    }

    /// Adds them to what was read before.
    pub fn add_to(&self, report: &mut ReadReport) {
        report.empty_lines += self.empty_lines;
        report.bad_records += self.bad_records;
        report.bad_places.extend(self.bad_places.iter().cloned());
        report.bad_places.truncate(ReadReport::LISTED_PLACES);
        report.nul_records += self.nul_records;
        report.invalid_utf8_records += self.invalid_utf8_records;
        report.lossy_rows += self.lossy_rows;
        report.missing_prefix.resize(report.missing_prefix.len().max(self.missing_prefix.len()), 0);
        report.missing_prefix.iter_mut().zip(&self.missing_prefix).for_each(|(sum, n)| *sum += n);
        for (noun, rest, n) in &self.announced {
            *report.announced.entry((noun.clone().into(), rest.clone().into())).or_default() += n;
        }
        report.opened.add(&OpenedReport { opened: self.opened.clone(), left: self.left_closed });
        report.record_starts.extend(self.record_starts.iter().cloned());
    }
}

impl PartFile {
    pub fn new(part: Part, flags: Flags, inputs: Vec<InputShare>, report: &ReadReport, records: Spool) -> Self {
        PartFile {
            format_version: VERSION,
            logwright: written_by(),
            part: part.to_string(),
            flags,
            inputs,
            read: Counts::of(report),
            records,
            characters: None,
            crc32: 0,
        }
    }

    /// Whether `folder` holds a `part.json` of any version.
    pub fn is_in(folder: &Path) -> bool {
        fs::read(folder.join(FILE)).is_ok_and(|text| serde_json::from_slice::<PartFile>(&text).is_ok())
    }

    pub fn load(folder: &Path) -> Result<(Self, Part)> {
        let path = folder.join(FILE);
        let text = fs::read_to_string(&path).map_err(|e| {
            Error::unreadable(&path, e, "expected a folder that prepare --part has written; check the path")
        })?;
        let fault = |fault: String| Error::failed(format!("{}: {fault}", path.display()));
        // The version first, because other versions may have other members.
        let version: Version = serde_json::from_str(&text)
            .map_err(|e| fault(format!("expected what prepare --part writes: {e}; {AGAIN}")))?;
        if version.format_version != VERSION || version.logwright != written_by() {
            return Err(fault(format!(
                "it was written by logwright {}, and this is {}; prepare all parts and merge them with one program",
                version.logwright,
                written_by()
            )));
        }
        let file: Self = serde_json::from_str(&text)
            .map_err(|e| fault(format!("expected what prepare --part writes: {e}; {AGAIN}")))?;
        if file.crc32 != file.checksum()? {
            return Err(fault(format!("checksum mismatch; {AGAIN}")));
        }
        let part = file.part.parse().map_err(|e| fault(format!("part: {e}; {AGAIN}")))?;
        Ok((file, part))
    }

    fn checksum(&self) -> Result<u32> {
        let text = serde_json::to_vec(&PartFile { crc32: 0, ..self.clone() }).map_err(Error::failed)?;
        Ok(crc32fast::hash(&text))
    }

    pub fn save(mut self, folder: &Path) -> Result<()> {
        self.crc32 = self.checksum()?;
        let text = serde_json::to_string_pretty(&self).map_err(Error::failed)? + "\n";
        write_new(&folder.join(FILE), text.as_bytes())
    }
}

#[derive(Deserialize)]
struct Version {
    format_version: u32,
    logwright: String,
}

fn written_by() -> String {
    format!("{} ({})", version::VERSION, version::COMMIT)
}
