//! What every format does with a record it has found: check it, put the prefix before it, count it, hand it on.

use super::compression::Compression;
use super::format::InputFormat;
use crate::record::{Prefix, put_prefix};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::io;

/// How many places of bad records a report lists.
const LISTED_PLACES: usize = 5;

/// How to read the inputs.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// The format of every input; `None`: found for each file by looking at it.
    pub format: Option<InputFormat>,
    pub bad_records: BadRecords,
    /// Longest record, in bytes before the prefix; reading holds a few of these in memory at most.
    pub max_record_bytes: usize,
    /// Fail at a record that is not valid UTF-8 (the character tokenizer has no token for such bytes).
    pub require_utf8: bool,
    /// What to put before each record, in this order.
    pub prefixes: Vec<Prefix>,
    /// Folders not to read though an input holds them: the one being written.
    pub leave_out: Vec<std::path::PathBuf>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        let max_record_bytes = 16 << 20;
        let bad_records = BadRecords::Fail;
        Self {
            format: None,
            bad_records,
            max_record_bytes,
            require_utf8: false,
            prefixes: Vec::new(),
            leave_out: Vec::new(),
        }
    }
}

/// What to do with a record that is not what its file's format promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BadRecords {
    /// Stop with an error that names the place
    Fail,
    /// Leave it out, count it, name the first places
    Skip,
    /// Take it as text (a table row of another length: as an object of the fields it has)
    Keep,
}

/// What was read, over all inputs. Bytes are those of the corpus: each record, its prefix and its newline.
#[derive(Clone, Debug, Default)]
pub struct ReadReport {
    pub records: u64,
    pub bytes: u64,
    pub empty_lines: u64,
    /// Bad records, left out or kept as text as the options say, and the first places, `file:line:column`.
    pub bad_records: u64,
    pub bad_places: Vec<String>,
    /// Records with a NUL byte, and with bytes that are not UTF-8: both are kept as they are in lines.
    pub nul_records: u64,
    pub invalid_utf8_records: u64,
    /// Table rows whose bytes that are not UTF-8 became U+FFFD, since JSON cannot hold them.
    pub lossy_rows: u64,
    /// For each prefix, the records without its field: they got the placeholder `-`.
    pub missing_prefix: Vec<u64>,
    pub sources: Vec<SourceReport>,
}

/// What was read from one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    pub name: String,
    pub format: InputFormat,
    pub compression: Compression,
    /// Size as stored, in bytes; 0 for standard input.
    pub stored_bytes: u64,
    pub records: u64,
    pub bytes: u64,
    /// Bad records left out.
    pub skipped: u64,
}

/// Receives each record of one source on its way to the sink.
pub(super) struct Collector<'a> {
    pub options: &'a ReadOptions,
    pub source: SourceReport,
    pub report: &'a mut ReadReport,
    pub sink: &'a mut dyn FnMut(&[u8]) -> Result<()>,
    /// The record with its prefix; reused.
    pub scratch: Vec<u8>,
}

impl Collector<'_> {
    /// A good record that began at `line`.
    pub fn record(&mut self, record: &[u8], line: u64) -> Result<()> {
        debug_assert!(!record.contains(&b'\n'));
        self.report.nul_records += u64::from(record.contains(&0));
        if let Err(error) = std::str::from_utf8(record) {
            if self.options.require_utf8 {
                return Err(self.not_utf8(line, error.valid_up_to(), "record"));
            }
            self.report.invalid_utf8_records += 1;
        }
        if self.options.prefixes.is_empty() {
            return self.emit(record);
        }
        let mut whole = std::mem::take(&mut self.scratch);
        whole.clear();
        put_prefix(&self.options.prefixes, record, &mut self.report.missing_prefix, &mut whole);
        whole.extend_from_slice(record);
        let done = self.emit(&whole);
        self.scratch = whole;
        done
    }

    fn emit(&mut self, record: &[u8]) -> Result<()> {
        self.source.records += 1;
        self.source.bytes += record.len() as u64 + 1;
        (self.sink)(record)
    }

    pub fn empty_line(&mut self) {
        self.report.empty_lines += 1;
    }

    /// A record that is not what the format promises: `fault` says what was expected and found, `kept` is what stands in
    /// for it under `--bad-records keep`.
    pub fn bad(&mut self, line: u64, column: u64, fault: &str, kept: &[u8]) -> Result<()> {
        let place = format!("{}:{line}:{column}", self.source.name);
        if self.options.bad_records == BadRecords::Fail {
            return Err(Error::failed(format!(
                "{place}: {fault} (the file is read as {}; if it mixes formats, split it, or choose with --format of \
                 prepare); --bad-records skip of prepare leaves such records out, --bad-records keep takes them as text",
                self.source.format.label()
            )));
        }
        self.report.bad_records += 1;
        if self.report.bad_places.len() < LISTED_PLACES {
            self.report.bad_places.push(place);
        }
        if self.options.bad_records == BadRecords::Keep {
            return self.record(kept, line);
        }
        self.source.skipped += 1;
        Ok(())
    }

    /// The record that began at `line` is longer than the limit.
    pub fn too_long(&self, line: u64) -> Error {
        Error::failed(format!(
            "{}:{line}: a record longer than {} bytes, the limit; if it is a record, raise --max-record-bytes; if not, \
             the file may lack line ends or be of another format (see --format of prepare)",
            self.source.name, self.options.max_record_bytes
        ))
    }

    /// The document's structure is broken at a place from which reading cannot go on.
    pub fn broken(&self, line: u64, column: u64, fault: &str) -> Error {
        Error::failed(format!(
            "{}:{line}:{column}: {fault} ({} records read so far; the file is read as {}); repair or fetch the file \
             again, split it if it mixes formats, or choose with --format",
            self.source.name,
            self.source.records,
            self.source.format.label()
        ))
    }

    /// Reading failed near `line`.
    pub fn read_error(&self, line: u64, error: io::Error) -> Error {
        read_error(&self.source.name, self.source.compression, self.source.records, line, &error)
    }

    pub fn not_utf8(&self, line: u64, at: usize, part: &str) -> Error {
        Error::failed(format!(
            "{}:{line}: byte {} of a {part} is not valid UTF-8, so the character tokenizer cannot hold it; use \
             --tokenizer bpe or bytes, which take any bytes, or convert the file",
            self.source.name,
            at + 1
        ))
    }
}

/// The message for a source that stops delivering, with how far it got.
pub(super) fn read_error(name: &str, compression: Compression, records: u64, line: u64, error: &io::Error) -> Error {
    let mut message = format!("{name}: cannot read on at line {line} ({records} records read so far): ");
    let tool = match compression {
        Compression::None => return Error::failed(message + &error.to_string()),
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    };
    let _ = write!(
        message,
        "the {tool} data is truncated or damaged ({error}); fetch the file again, or save what is whole with \
         `{tool} -dc {name} > part.log` and use that"
    );
    Error::failed(message)
}
