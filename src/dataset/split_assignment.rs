//! The decision which records go to the validation split.

use super::meta::SplitMode;
use super::options::PrepareOptions;
use super::permutation::Permutation;
use crate::ingest::ReadReport;
use crate::{Error, Result};

/// Which records validate.
pub(super) enum SplitAssignment {
    From(u64),
    Drawn { order: Permutation, count: u64 },
}

impl SplitAssignment {
    pub fn new(report: &ReadReport, options: &PrepareOptions) -> Result<Self> {
        let records = report.records;
        if let (1, Some(source)) = (records, report.sources.iter().find(|source| source.records > 0)) {
            return Err(Error::usage(format!(
                "{}: 1 record of {} bytes, read as {}; training needs at least 2: if the file holds more, choose with \
                 --format",
                source.name,
                source.bytes,
                source.format.label()
            )));
        }
        let count = (records as f64 * options.val_fraction).round() as u64;
        if count == 0 || count >= records {
            return Err(Error::usage(format!(
                "--val-fraction {}: of {records} records this leaves {} for training and {count} for validation; give \
                 another fraction or more logs",
                options.val_fraction,
                records - count.min(records)
            )));
        }
        Ok(match options.split {
            SplitMode::Chronological => SplitAssignment::From(records - count),
            SplitMode::Random => SplitAssignment::Drawn { order: Permutation::new(records, options.seed, 0), count },
        })
    }

    /// How many of the records validate.
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
