//! The options of a reading, its report, and the steps that every format shares: a record is checked, gets its prefix, is
//! counted and passed to the sink.

use super::compression::Compression;
use super::format::InputFormat;
use super::record_start::RecordStart;
use crate::launch::Part;
use crate::record::{Form, OpenedReport, Opening, Prefix, Records, put_prefix};
use crate::words::counted;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io;

/// How to read the inputs.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// The format of every input; `None`: it is detected for each file.
    pub format: Option<InputFormat>,
    pub bad_records: BadRecords,
    /// The longest allowed record in bytes, without its prefix. Reading holds at most a few of these in memory.
    pub max_record_bytes: usize,
    /// Whether a record that is not valid UTF-8 is an error (the character tokenizer has no token for such bytes).
    pub require_utf8: bool,
    /// Which strings of JSON records are opened.
    pub open: Opening,
    /// The prefixes that each record gets, in this order.
    pub prefixes: Vec<Prefix>,
    /// Folders that are not read although an input contains them, such as the output folder.
    pub leave_out: Vec<std::path::PathBuf>,
    /// Whether a model reads the records: its answer to a bad or too long one is what is wrong with it, and reading goes on.
    pub answer_faults: bool,
    /// Whether each line stands alone and is answered, whatever it holds, as it comes.
    pub each_line: bool,
    /// Which lines of text begin a record.
    pub record_start: RecordStart,
    /// Whether records are text: a format that would make JSON of them is read as lines.
    pub text_only: bool,
    /// Of the records of a stream, which are counted all, those that are passed on.
    pub share: Part,
}

impl ReadOptions {
    /// How logs are read for a model that has learnt records like these: strings are opened and lines joined as they were then.
    ///
    /// Errors: the pattern of `records.json` is no regular expression.
    pub fn like(records: &Records) -> Result<Self> {
        Ok(Self {
            open: records.open.clone(),
            record_start: RecordStart::parse(records.record_start.as_deref().unwrap_or(""))?,
            text_only: records.form == Form::Text,
            ..Self::default()
        })
    }
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
            open: Opening::Nothing,
            prefixes: Vec::new(),
            leave_out: Vec::new(),
            answer_faults: false,
            each_line: false,
            record_start: RecordStart::Lines,
            text_only: false,
            share: Part::WHOLE,
        }
    }
}

/// What to do with a record that violates the format of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum BadRecords {
    /// Stop with an error that names the file, line and column
    Fail,
    /// Leave the record out, count it, and list the first places
    Skip,
    /// Keep the record as text (a table row of the wrong length: as an object of the fields it has)
    Keep,
}

/// What was read from all inputs. Bytes are counted as in the corpus: each record with its prefix and its newline.
#[derive(Clone, Debug, Default)]
pub struct ReadReport {
    pub records: u64,
    pub bytes: u64,
    pub empty_lines: u64,
    /// The number of bad records, left out or kept as text as the options say, and the places of the first ones as
    /// `file:line:column`.
    pub bad_records: u64,
    pub bad_places: Vec<String>,
    /// Records with a NUL byte, and records with bytes that are not UTF-8. Formats of lines keep both unchanged.
    pub nul_records: u64,
    pub invalid_utf8_records: u64,
    /// Table rows with bytes that are not UTF-8. Each such byte becomes U+FFFD, since JSON cannot hold it.
    pub lossy_rows: u64,
    /// For each prefix, the number of records that lack its field and get the placeholder `-`.
    pub missing_prefix: Vec<u64>,
    /// What is part of the files but no record, as a noun and what follows it, and how often it was left out or joined.
    pub announced: BTreeMap<(Cow<'static, str>, Cow<'static, str>), u64>,
    /// The strings with JSON that were opened.
    pub opened: OpenedReport,
    /// The patterns by which lines of text were joined.
    pub record_starts: BTreeSet<String>,
    pub sources: Vec<SourceReport>,
}

impl ReadReport {
    /// The number of bad records whose places are listed.
    pub const LISTED_PLACES: usize = 5;

    /// Adds what was read from a file that follows.
    pub(super) fn add(&mut self, source: SourceReport) {
        self.records += source.records;
        self.bytes += source.bytes;
        self.sources.push(source);
    }
}

/// What was read from one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    pub name: String,
    pub format: InputFormat,
    pub compression: Compression,
    /// The stored (compressed) size in bytes; 0 for standard input.
    pub stored_bytes: u64,
    pub records: u64,
    pub bytes: u64,
    /// Bad records that were left out.
    pub skipped: u64,
}

/// What the sink receives.
pub(super) enum Taken<'a> {
    /// A record with its prefix. `end` is the offset in the stream behind it, where reading can resume there.
    Record { record: &'a [u8], end: Option<u64> },
    /// The reason why a record was left out, where faults are to be answered, and the bytes that are at hand of it.
    Fault { fault: String, bytes: &'a [u8], end: Option<u64> },
}

/// Where a record stands in its source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    /// Line and column of its first byte, from 1.
    pub line: u64,
    pub column: u64,
    /// The offset in the stream behind it and its line end. `None` in the middle of a document.
    pub end: Option<u64>,
}

impl Place {
    pub fn of_line(line: u64, end: u64) -> Self {
        Place { line, column: 1, end: Some(end) }
    }
}

/// Receives the records of one source and passes them to the sink.
pub(super) struct Collector<'a> {
    pub options: &'a ReadOptions,
    pub source: SourceReport,
    /// What messages call the format that was found.
    pub label: &'static str,
    pub report: &'a mut ReadReport,
    pub sink: &'a mut dyn FnMut(Taken) -> Result<()>,
    /// Buffer for a record with its prefix, reused from record to record.
    pub scratch: Vec<u8>,
}

impl Collector<'_> {
    /// Takes a valid record.
    pub fn record(&mut self, record: &[u8], place: Place) -> Result<()> {
        debug_assert!(!record.contains(&b'\n'));
        self.report.nul_records += u64::from(record.contains(&0));
        if let Err(error) = std::str::from_utf8(record) {
            if self.options.require_utf8 {
                return Err(self.not_utf8(place.line, error.valid_up_to(), "record"));
            }
            self.report.invalid_utf8_records += 1;
        }
        let opened = match self.source.format.gives_json() {
            true => self.options.open.open(record, &mut self.report.opened),
            false => None,
        };
        let record = opened.as_deref().unwrap_or(record);
        if self.options.prefixes.is_empty() {
            return self.emit(record, place.end);
        }
        let mut whole = std::mem::take(&mut self.scratch);
        whole.clear();
        put_prefix(&self.options.prefixes, record, &mut self.report.missing_prefix, &mut whole);
        whole.extend_from_slice(record);
        let done = self.emit(&whole, place.end);
        self.scratch = whole;
        done
    }

    fn emit(&mut self, record: &[u8], end: Option<u64>) -> Result<()> {
        self.source.records += 1;
        self.source.bytes += record.len() as u64 + 1;
        (self.sink)(Taken::Record { record, end })
    }

    pub fn empty_line(&mut self) {
        self.report.empty_lines += 1;
    }

    /// Counts something that is no record of its own, for the summary.
    pub fn announce(&mut self, noun: &'static str, rest: &'static str) {
        *self.report.announced.entry((noun.into(), rest.into())).or_default() += 1;
    }

    /// Takes a record that violates the format. `fault` says what was expected and found; `kept` replaces the record under
    /// `--bad-records keep`.
    pub fn bad(&mut self, place: Place, fault: &str, kept: &[u8]) -> Result<()> {
        let shown = format!("{}:{}:{}", self.source.name, place.line, place.column);
        if self.options.answer_faults {
            self.source.skipped += 1;
            let fault = format!("line {}, column {}: {fault}", place.line, place.column);
            return (self.sink)(Taken::Fault { fault, bytes: kept, end: place.end });
        }
        if self.options.bad_records == BadRecords::Fail {
            return Err(Error::failed(format!(
                "{shown}: {fault} ({} read so far; the file is read as {}; if it mixes formats, split it or choose one \
                 with `prepare --format`); `prepare --bad-records skip` leaves such records out, `--bad-records keep` takes them \
                 as text",
                counted(self.source.records, "record"),
                self.label
            )));
        }
        self.report.bad_records += 1;
        if self.report.bad_places.len() < ReadReport::LISTED_PLACES {
            self.report.bad_places.push(shown);
        }
        if self.options.bad_records == BadRecords::Keep && !kept.trim_ascii().is_empty() {
            return self.record(kept, place);
        }
        self.source.skipped += 1;
        Ok(())
    }

    /// Takes note of a record that is longer than the limit and begins with `head`; the decoder leaves it out. An error where
    /// faults are not answered.
    pub fn too_long(&mut self, line: u64, head: &[u8]) -> Result<()> {
        let limit = self.options.max_record_bytes;
        if self.options.answer_faults {
            self.source.skipped += 1;
            let fault = format!(
                "line {line}: a record longer than {limit} bytes is left out; raise --max-record-bytes if it is one"
            );
            // Its rest is still to come: who resumed here would take it for a record.
            return (self.sink)(Taken::Fault { fault, bytes: head, end: None });
        }
        Err(Error::failed(format!(
            "{}:{line}: a record longer than {limit} bytes, the limit; if it is a record, raise --max-record-bytes; if not, \
             the file may lack line ends or have another format (see `prepare --format`)",
            self.source.name
        )))
    }

    /// The error for a read that failed near `line`.
    pub fn read_error(&self, line: u64, error: io::Error) -> Error {
        read_error(&self.source.name, self.source.compression, self.source.records, line, &error)
    }

    pub fn not_utf8(&self, line: u64, at: usize, part: &str) -> Error {
        Error::failed(format!(
            "{}:{line}: byte {} of a {part} is not valid UTF-8, so the character tokenizer cannot encode it; use \
             --tokenizer bpe or bytes, which take any bytes, or convert the file",
            self.source.name,
            at + 1
        ))
    }
}

/// The error for a source whose reading fails; it says how far reading got.
pub(super) fn read_error(name: &str, compression: Compression, records: u64, line: u64, error: &io::Error) -> Error {
    let mut message =
        format!("{name}: cannot continue reading at line {line} ({} read so far): ", counted(records, "record"));
    let tool = match compression {
        Compression::None => return Error::failed(message + &error.to_string()),
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
        Compression::Xz => "xz",
    };
    if error.to_string().contains("ictionary") {
        let _ = write!(
            message,
            "{error}: it was compressed with a dictionary; pipe it in: zstd -dc -D DICTIONARY {name} | logwright prepare - ..."
        );
        return Error::failed(message);
    }
    let _ = write!(
        message,
        "the {tool} data is truncated or damaged ({error}); fetch the file again, or save the intact part with \
         `{tool} -dc {name} > part.log` and use that"
    );
    Error::failed(message)
}
