//! `prepare --pseudonymise`: the inputs are read once into a private temporary file while names are learnt; then the names
//! are replaced record by record.

use crate::files::{Access, WholeFile, temporary, write_error};
use crate::ingest::{InputShare, ReadOptions, ReadReport, check_prefixes, read_part, read_records};
use crate::launch::Part;
use crate::pseudonyms::{PseudonymReport, Pseudonymizer, Rules, SealedPseudonyms, SecretKey, WordReport};
use crate::record::put_prefix;
use crate::{Error, Result};
use indicatif::ProgressBar;
use serde::Serialize;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How to replace names.
#[derive(Clone)]
pub struct PseudonymOptions {
    pub key: SecretKey,
    /// A file of rules that precede or replace the built-in ones.
    pub rules: Option<PathBuf>,
    /// A file of words that stay.
    pub allow: Option<PathBuf>,
    /// The pseudonyms of a corpus, which the names of this one keep: of the same key.
    pub continues: Option<Arc<SealedPseudonyms>>,
    /// Whether to count the words that are replaced.
    pub count_words: bool,
    /// A file to which the records are written with their pseudonyms and without a prefix.
    pub write_records: Option<PathBuf>,
}

/// What came of replacing names.
pub(super) struct Pseudonymised {
    /// With the bytes of the resulting corpus.
    pub report: ReadReport,
    pub replaced: PseudonymReport,
    /// The words that were replaced, if they were to be counted.
    pub words: Option<WordReport>,
    /// What later records need to get the same pseudonyms.
    pub sealed: SealedPseudonyms,
    /// The file of written records, which is not published yet.
    pub written: Option<WholeFile>,
}

/// Reads the inputs, replaces names, adds prefixes, and passes each record to `sink`. The original records are in a
/// temporary file in `folder` that has no name: no other user can open it, and it disappears when the program ends for any
/// reason.
pub(super) fn read_pseudonymised(
    inputs: &[PathBuf],
    read: &ReadOptions,
    how: &PseudonymOptions,
    folder: &Path,
    progress: &ProgressBar,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Pseudonymised> {
    let mut replacing = Replacing::new(begun(how)?, read, how)?;
    if how.count_words {
        replacing.pseudonyms.count_words(&how.key);
    }
    let failed = |e| write_error(folder, e);
    let mut originals = BufWriter::with_capacity(1 << 20, temporary(folder)?);
    let report = read_records(inputs, &without_prefixes(read), progress, &mut |record| {
        replacing.pseudonyms.learn(record);
        originals.write_all(record).and_then(|()| originals.write_all(b"\n")).map_err(failed)
    })?;
    let mut originals = originals.into_inner().map_err(|e| write_error(folder, e.into_error()))?;
    originals.rewind().map_err(failed)?;
    replacing.all(report, |each| each_record(originals, folder, each), progress, sink)
}

/// Originals get their prefixes after the names in them are replaced.
fn without_prefixes(read: &ReadOptions) -> ReadOptions {
    ReadOptions { prefixes: Vec::new(), ..read.clone() }
}

/// Reads one part of the inputs, passes its original records to `sink`, and learns their names.
pub(super) fn learn_part(
    inputs: &[PathBuf],
    read: &ReadOptions,
    how: &PseudonymOptions,
    part: Part,
    progress: &ProgressBar,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<(ReadReport, Vec<InputShare>, SealedPseudonyms)> {
    let mut pseudonyms = begun(how)?;
    let (report, shares) = read_part(inputs, &without_prefixes(read), part, progress, &mut |record| {
        pseudonyms.learn(record);
        sink(record)
    })?;
    Ok((report, shares, pseudonyms.seal_learnt(&how.key)))
}

/// Takes a record.
pub(super) type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

/// Replaces the names that were learnt.
pub(super) struct Replacing<'a> {
    pub pseudonyms: Pseudonymizer,
    read: &'a ReadOptions,
    how: &'a PseudonymOptions,
    written: Option<WholeFile>,
}

impl<'a> Replacing<'a> {
    pub fn new(pseudonyms: Pseudonymizer, read: &'a ReadOptions, how: &'a PseudonymOptions) -> Result<Self> {
        let written = how.write_records.as_deref().map(|path| WholeFile::create(path, Access::Shared)).transpose()?;
        Ok(Replacing { pseudonyms, read, how, written })
    }

    /// Replaces names in all the records that `each` gives, adds prefixes, and passes the records to `sink`. `report` is that of the
    /// originals.
    pub fn all(
        self,
        mut report: ReadReport,
        each: impl FnOnce(Sink) -> Result<()>,
        progress: &ProgressBar,
        sink: Sink,
    ) -> Result<Pseudonymised> {
        let Replacing { mut pseudonyms, read, how, mut written } = self;
        pseudonyms.finalize();
        progress.set_message("replacing names");
        progress.set_length(report.bytes);
        progress.reset();
        report.bytes = 0;
        let (mut replaced, mut whole) = (Vec::new(), Vec::new());
        each(&mut |record| {
            progress.inc(record.len() as u64 + 1);
            pseudonyms.rewrite(record, &mut replaced);
            if let Some(file) = &mut written {
                file.write(&read.open.closed(&replaced))?;
                file.write(b"\n")?;
            }
            whole.clear();
            put_prefix(&read.prefixes, &replaced, &mut report.missing_prefix, &mut whole);
            whole.extend_from_slice(&replaced);
            report.bytes += whole.len() as u64 + 1;
            sink(&whole)
        })?;
        check_prefixes(&read.prefixes, &report)?;
        let (replaced, sealed) = (pseudonyms.report(), pseudonyms.seal(&how.key));
        Ok(Pseudonymised { report, replaced, words: pseudonyms.word_report(), sealed, written })
    }
}

/// What replaces names: anew, or going on from a corpus.
fn begun(how: &PseudonymOptions) -> Result<Pseudonymizer> {
    let load = || Rules::load_allowing(how.rules.as_deref(), how.allow.as_deref());
    let Some(sealed) = &how.continues else { return Ok(Pseudonymizer::new(how.key.clone(), load()?)) };
    let given = (how.rules.is_some() || how.allow.is_some()).then(load).transpose()?;
    Pseudonymizer::continuing(how.key.clone(), sealed, given)
}

fn each_record(originals: File, folder: &Path, each: Sink) -> Result<()> {
    let mut reader = BufReader::with_capacity(1 << 20, originals);
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(|e| Error::io("read the temporary file in", folder, e))?;
        match line.strip_suffix(b"\n") {
            Some(record) => each(record)?,
            None => return Ok(()),
        }
    }
}

/// What pseudonyms would replace. It contains words of the logs.
#[derive(Serialize)]
pub struct DryRun {
    #[serde(flatten)]
    pub replaced: PseudonymReport,
    #[serde(flatten)]
    pub words: WordReport,
}

/// Counts what pseudonyms would replace, and lists words, without writing anything but an unnamed temporary file.
pub fn count_pseudonyms(
    inputs: &[PathBuf],
    read: &ReadOptions,
    how: &PseudonymOptions,
    progress: &ProgressBar,
) -> Result<DryRun> {
    let how = PseudonymOptions { write_records: None, count_words: true, ..how.clone() };
    let folder = std::env::temp_dir();
    let done = read_pseudonymised(inputs, read, &how, &folder, progress, &mut |_| Ok(()))?;
    progress.finish_and_clear();
    Ok(DryRun { replaced: done.replaced, words: done.words.unwrap_or_default() })
}
