//! Decides which records go to the validation split.

use super::meta::SplitMode;
use super::options::PrepareOptions;
use super::permutation::Permutation;
use crate::ingest::ReadReport;
use crate::{Error, Result};

/// The assignment of records to the training and the validation split.
pub(super) enum SplitAssignment {
    /// All records from this number on validate.
    From(u64),
    /// The first `count` records of a random order validate.
    Drawn { order: Permutation, count: u64 },
}

impl SplitAssignment {
    pub fn new(report: &ReadReport, options: &PrepareOptions) -> Result<Self> {
        let records = report.records;
        if let (1, Some(source)) = (records, report.sources.iter().find(|source| source.records > 0)) {
            return Err(Error::usage(format!(
                "{}: 1 record of {} bytes, read as {}; training needs at least 2 records; if the file contains more, choose \
                 its format with --format",
                source.name,
                source.bytes,
                source.format.label()
            )));
        }
        let count = (records as f64 * options.val_fraction).round() as u64;
        if count == 0 || count >= records {
            return Err(Error::usage(format!(
                "--val-fraction {}: of {records} records this leaves {} for training and {count} for validation; choose \
                 another fraction, or use more logs",
                options.val_fraction,
                records - count.min(records)
            )));
        }
        Ok(match options.split {
            SplitMode::Chronological => SplitAssignment::From(records - count),
            SplitMode::Random => SplitAssignment::Drawn { order: Permutation::new(records, options.seed, 0), count },
        })
    }

    /// The number of validation records.
    pub fn count(&self, records: u64) -> u64 {
        match self {
            SplitAssignment::From(first) => records - first,
            SplitAssignment::Drawn { count, .. } => *count,
        }
    }

    pub fn validates(&self, record: u64) -> bool {
        match self {
            SplitAssignment::From(first) => record >= *first,
            SplitAssignment::Drawn { order, count } => order.at(record) < *count,
        }
    }
}
