//! `prepare`: raw logs -> a data folder, in two passes and bounded memory.
//!
//! Pass 1 reads the inputs once into a spool file beside the output and learns what the tokenizer needs. Pass 2 tokenises
//! the spool in parallel chunks and writes shards. The spool costs the corpus' size on disk and is removed at the end.

use super::canaries::Canaries;
use super::first_pass::{Alphabet, RecordSample, TemporaryRecords};
use super::meta::{Meta, SplitMode};
use super::permutation::Permutation;
use super::pseudonymise::{PseudonymOptions, read_pseudonymised};
use super::splitmix::mix;
use super::writer::{RecordCounts, SplitWriter};
use crate::files::{StagedFolder, WholeFile, write_atomic};
use crate::ingest::read_records;
use crate::ingest::{ReadOptions, ReadReport};
use crate::pseudonyms::PseudonymReport;
use crate::record::Form;
use crate::record::{Records, RecordsBuilder};
use crate::tokens::{Tokenizer, TokenizerKind};
use crate::{Error, Result};
use clap::ValueEnum;
use indicatif::ProgressBar;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of records that one thread tokenises at a time.
const CHUNK: usize = 1 << 20;

/// Vocabulary of a BPE unless told.
const VOCABULARY: usize = 2048;

/// Most tokens in a shard.
const SHARD_TOKENS: u64 = 1 << 28;

#[derive(Clone)]
pub struct PrepareOptions {
    pub inputs: Vec<PathBuf>,
    pub out: PathBuf,
    pub overwrite: bool,
    pub read: ReadOptions,
    pub tokenizer: TokenizerKind,
    /// Use this one instead of making one: that of a model that is to be trained further or evaluated.
    pub existing: Option<Tokenizer>,
    /// Stands for characters that an existing tokenizer of characters does not know; none: such a one is an error.
    pub replace_unknown: Option<char>,
    /// Vocabulary of a trained BPE: exactly this. `None`: 2048, or fewer where the corpus gives no more.
    pub vocab_size: Option<usize>,
    pub val_fraction: f64,
    pub split: SplitMode,
    pub seed: u64,
    /// Replace names before anything else sees them.
    pub pseudonymise: Option<PseudonymOptions>,
    /// How many canaries to plant into the training split.
    pub canaries: usize,
    /// Most tokens in a shard.
    pub shard_tokens: u64,
}

impl PrepareOptions {
    /// The defaults: BPE of 2048, the last tenth of the records for validation.
    pub fn new(inputs: impl IntoIterator<Item = impl Into<PathBuf>>, out: PathBuf) -> Self {
        Self {
            inputs: inputs.into_iter().map(Into::into).collect(),
            out,
            overwrite: false,
            read: ReadOptions::default(),
            tokenizer: TokenizerKind::Bpe,
            existing: None,
            replace_unknown: None,
            vocab_size: None,
            val_fraction: 0.1,
            split: SplitMode::Chronological,
            seed: 0,
            pseudonymise: None,
            canaries: 0,
            shard_tokens: SHARD_TOKENS,
        }
    }
}

/// What `prepare` did.
pub struct Prepared {
    pub meta: Meta,
    pub report: ReadReport,
    /// Characters that were unknown to the tokenizer and replaced.
    pub replaced: u64,
    /// What was replaced, if anything was to be.
    pub pseudonyms: Option<PseudonymReport>,
}

/// Makes the data folder `options.out`; it appears complete or not at all.
///
/// Memory: about 6 MiB a thread for chunks, a few times the longest record, and for BPE the sample (at most 32 MiB) with
/// what training on it takes; none of it grows with the corpus. Measured on 1.1 GB with 2 threads: 46 MB for bytes, 37 MB
/// for characters, 231 MB for a BPE of 2048. Disk: the corpus once more while at work.
/// The same options and inputs give the same bytes, whatever the number of threads.
pub fn prepare(options: &PrepareOptions, progress: &ProgressBar) -> Result<Prepared> {
    check_fraction(options.val_fraction)?;
    check_target(&options.out, options.overwrite)?;
    if let (Some(tokenizer), Some(stand_in)) = (&options.existing, options.replace_unknown) {
        // An unfit stand-in is noticed before anything is read.
        tokenizer.replace_unknown(Vec::new(), stand_in, &mut 0)?;
    }
    let staged = StagedFolder::create(&options.out).map_err(|e| Error::failed(format!("--out {e}")))?;
    progress.set_message("reading");
    let FirstPass { spool, report, tokenizer, pseudonyms, written } = first_pass(options, &staged.folder, progress)?;
    let assignment = SplitAssignment::new(&report, options)?;
    let builder = RecordsBuilder::new(form(&report, options)?, &options.read.prefixes);
    let planted = plant(options, &staged.folder, &spool, &tokenizer, &assignment, report.records)?;
    let mut writers = SplitWriters::create(&staged.folder, &tokenizer, assignment, builder, options.shard_tokens)?;
    writers.planted = planted;
    progress.set_message("tokenising");
    progress.set_length(report.bytes);
    progress.reset();
    let replaced = tokenise(&spool, &tokenizer, options.replace_unknown, &mut writers, progress)?;
    fs::remove_file(&spool).map_err(|e| Error::io("remove", &spool, e))?;
    tokenizer.save(&staged.folder)?;
    let (meta, records) = writers.finish(options, &report, &tokenizer)?;
    records.save(&staged.folder)?;
    meta.save(&staged.folder)?;
    if let Some(pseudonyms) = &pseudonyms {
        let text = serde_json::to_string_pretty(pseudonyms).map_err(Error::failed)? + "\n";
        write_atomic(&staged.folder.join("pseudonyms.json"), text.as_bytes())?;
    }
    staged.publish()?;
    written.map_or(Ok(()), WholeFile::publish)?;
    progress.finish_and_clear();
    Ok(Prepared { meta, report, replaced, pseudonyms })
}

/// Refuses a target that exists, unless `overwrite` is set and it is a data folder (or empty).
fn check_target(target: &Path, overwrite: bool) -> Result<()> {
    let empty = fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none());
    if !target.exists() || empty {
        return Ok(());
    }
    if !overwrite {
        return Err(Error::usage(format!(
            "--out {}: it exists already; choose another name, or replace it with --overwrite",
            target.display()
        )));
    }
    if !Meta::is_in(target) {
        return Err(Error::usage(format!(
            "--out {}: it is no data folder (it has no meta.json as prepare writes it), so --overwrite leaves it alone; \
             choose another name, or remove it yourself",
            target.display()
        )));
    }
    Ok(())
}

fn check_fraction(fraction: f64) -> Result<()> {
    if fraction > 0.0 && fraction < 1.0 {
        return Ok(());
    }
    Err(Error::usage(format!("--val-fraction {fraction}: expected a number between 0 and 1, such as 0.1")))
}

/// What pass 1 leaves: the spool's path, what was read, and the tokenizer; with pseudonyms, what was replaced and the file
/// of records, not yet published.
struct FirstPass {
    spool: PathBuf,
    report: ReadReport,
    tokenizer: Tokenizer,
    pseudonyms: Option<PseudonymReport>,
    written: Option<WholeFile>,
}

/// Pass 1.
fn first_pass(options: &PrepareOptions, folder: &Path, progress: &ProgressBar) -> Result<FirstPass> {
    let mut spool = TemporaryRecords::create(folder)?;
    let make = |kind| options.existing.is_none() && options.tokenizer == kind;
    let mut alphabet = make(TokenizerKind::Char).then(Alphabet::new);
    let mut sample = make(TokenizerKind::Bpe).then(|| RecordSample::new(options.seed));
    let own = [options.out.clone(), folder.to_owned()];
    let leave_out = options.read.leave_out.iter().cloned().chain(own).collect();
    let read = ReadOptions {
        require_utf8: options.tokenizer == TokenizerKind::Char && options.replace_unknown.is_none(),
        leave_out,
        ..options.read.clone()
    };
    let mut take = |record: &[u8]| {
        if let Some(alphabet) = &mut alphabet {
            alphabet.add(record);
        }
        if let Some(sample) = &mut sample {
            sample.add(record);
        }
        spool.push(record)
    };
    let (report, pseudonyms, written) = match &options.pseudonymise {
        None => (read_records(&options.inputs, &read, progress, &mut take)?, None, None),
        Some(how) => {
            let done = read_pseudonymised(&options.inputs, &read, how, folder, progress, &mut take)?;
            (done.0, Some(done.1), done.2)
        }
    };
    let spool = spool.finish()?;
    let tokenizer = match (alphabet, sample) {
        (Some(alphabet), _) => Tokenizer::chars(&alphabet.chars()),
        (_, Some(sample)) => train_bpe(sample, options.vocab_size, progress)?,
        _ => options.existing.clone().unwrap_or_else(Tokenizer::bytes),
    };
    Ok(FirstPass { spool, report, tokenizer, pseudonyms, written })
}

/// Makes the canaries, saves them, and encodes them by the number of the record that each copy follows.
fn plant(
    options: &PrepareOptions,
    folder: &Path,
    spool: &Path,
    tokenizer: &Tokenizer,
    assignment: &SplitAssignment,
    records: u64,
) -> Result<BTreeMap<u64, Vec<Arc<EncodedChunk>>>> {
    let mut planted: BTreeMap<u64, Vec<Arc<EncodedChunk>>> = BTreeMap::new();
    if options.canaries == 0 {
        return Ok(planted);
    }
    let training = records - assignment.count(records);
    if options.canaries > 32 || (1 << options.canaries) - 1 > training {
        return Err(Error::usage(format!(
            "--canaries {}: 2^{} - 1 records to plant among {training} for training would be more than these; ask for fewer",
            options.canaries, options.canaries
        )));
    }
    let order = Permutation::new(records, options.seed, CANARY_STREAM);
    let trains = |record: &u64| !assignment.validates(*record);
    let drawn: Vec<u64> =
        (0..records).map(|at| order.at(at)).filter(trains).take(CANARY_SAMPLE + 4 * options.canaries).collect();
    let encodes = |c: char| tokenizer.encode(c.to_string().as_bytes(), &mut Vec::new()).is_ok();
    let canaries = Canaries::make(&fetch(spool, &drawn)?, options.canaries, options.seed, encodes)?;
    canaries.save(folder)?;
    for (number, canary) in canaries.canaries.iter().enumerate() {
        let encoded = Arc::new(encode((canary.text() + "\n").into_bytes(), tokenizer, None).map_err(|(_, e)| e)?);
        for copy in 0..canary.repeats {
            let drawn = mix(options.seed, CANARY_STREAM + number as u64, copy) % records;
            let behind = (drawn..records).chain(0..drawn).find(trains).unwrap_or(drawn);
            planted.entry(behind).or_default().push(encoded.clone());
        }
    }
    Ok(planted)
}

/// The records of these numbers, in their order, those left out that are not UTF-8.
fn fetch(spool: &Path, numbers: &[u64]) -> Result<Vec<String>> {
    let wanted: BTreeMap<u64, usize> = numbers.iter().enumerate().map(|(at, number)| (*number, at)).collect();
    let mut found = vec![None; numbers.len()];
    let failed = |e| Error::io("read", spool, e);
    let lines = BufReader::with_capacity(1 << 18, File::open(spool).map_err(failed)?).split(b'\n');
    for (number, line) in lines.enumerate() {
        let line = line.map_err(failed)?;
        if let Some(at) = wanted.get(&(number as u64)) {
            found[*at] = String::from_utf8(line).ok();
        }
    }
    Ok(found.into_iter().flatten().collect())
}

/// What a record looks like: JSON where every source gives it.
///
/// Errors: prefixes, which are values of JSON fields, before text.
fn form(report: &ReadReport, options: &PrepareOptions) -> Result<Form> {
    let text = report.sources.iter().find(|source| !source.format.gives_json());
    match (text, options.read.prefixes.is_empty()) {
        (None, true) => Ok(Form::Json),
        (None, false) => Ok(Form::PrefixedJson),
        (Some(_), true) => Ok(Form::Text),
        (Some(text), false) => Err(Error::usage(format!(
            "--prefix-field: {} is {}, and only JSON records have fields; leave the file or the prefix out",
            text.name,
            text.format.label()
        ))),
    }
}

/// Few or uniform logs give fewer tokens than wanted, which is told.
fn train_bpe(sample: RecordSample, wanted: Option<usize>, progress: &ProgressBar) -> Result<Tokenizer> {
    progress.set_message("training the tokenizer");
    let records = sample.into_records();
    Tokenizer::train_bpe(records.iter().map(Vec::as_slice), wanted.unwrap_or(VOCABULARY))
}

/// Which records validate.
enum SplitAssignment {
    From(u64),
    Drawn { order: Permutation, count: u64 },
}

/// Tells the draws for canaries from others of the same seed.
const CANARY_STREAM: u64 = 0x4341_4e41;
/// Records looked at to find values that vary.
const CANARY_SAMPLE: usize = 64;

impl SplitAssignment {
    fn new(report: &ReadReport, options: &PrepareOptions) -> Result<Self> {
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
    fn count(&self, records: u64) -> u64 {
        match self {
            SplitAssignment::From(first) => records - first,
            SplitAssignment::Drawn { count, .. } => *count,
        }
    }

    fn validates(&self, record: u64) -> bool {
        match self {
            SplitAssignment::From(first) => record >= *first,
            SplitAssignment::Drawn { order, count } => order.at(record) < *count,
        }
    }
}

/// Both splits under way.
struct SplitWriters {
    train: SplitWriter,
    val: SplitWriter,
    assignment: SplitAssignment,
    /// Learns from the training records.
    builder: RecordsBuilder,
    /// Number of the next record.
    next: u64,
    /// Canaries by the number of the training record that they follow.
    planted: BTreeMap<u64, Vec<Arc<EncodedChunk>>>,
}

impl SplitWriters {
    fn create(
        folder: &Path,
        tokenizer: &Tokenizer,
        assignment: SplitAssignment,
        builder: RecordsBuilder,
        shard_tokens: u64,
    ) -> Result<Self> {
        let width = if tokenizer.vocab_size() <= 1 << 16 { 2 } else { 4 };
        let train = SplitWriter::create(folder, "train", width, shard_tokens)?;
        let val = SplitWriter::create(folder, "val", width, shard_tokens)?;
        Ok(Self { train, val, assignment, builder, next: 0, planted: BTreeMap::new() })
    }

    fn push(&mut self, encoded: &EncodedChunk) -> Result<()> {
        let mut at = 0;
        for (counts, record) in encoded.records.iter().zip(encoded.text.split(|&byte| byte == b'\n')) {
            let ids = &encoded.ids[at..at + counts.tokens];
            at += counts.tokens;
            if self.assignment.validates(self.next) {
                self.val.record(ids, *counts)?;
            } else {
                self.builder.observe(record);
                self.train.record(ids, *counts)?;
            }
            for canary in self.planted.remove(&self.next).into_iter().flatten() {
                self.train.record(&canary.ids, canary.records[0])?;
            }
            self.next += 1;
        }
        Ok(())
    }

    fn finish(self, options: &PrepareOptions, report: &ReadReport, tokenizer: &Tokenizer) -> Result<(Meta, Records)> {
        assert_eq!(self.next, report.records);
        let (train, longest_train) = self.train.finish()?;
        let (val, longest_val) = self.val.finish()?;
        let (format_version, logwright) = Meta::version();
        let kind = tokenizer.kind().to_possible_value();
        let meta = Meta {
            format_version,
            logwright,
            tokenizer: kind.map(|v| v.get_name().to_string()).unwrap_or_default(),
            vocab_size: tokenizer.vocab_size(),
            separator: tokenizer.separator(),
            split: options.split,
            val_fraction: options.val_fraction,
            seed: options.seed,
            longest_record: longest_train.max(longest_val),
            train,
            val,
            sources: report.sources.clone(),
        };
        Ok((meta, Records { pseudonymised: options.pseudonymise.is_some(), ..self.builder.finish() }))
    }
}

/// Records of one chunk, and their tokens on end, each record's separator included.
struct EncodedChunk {
    text: Vec<u8>,
    /// Characters that were replaced.
    replaced: u64,
    ids: Vec<u32>,
    records: Vec<RecordCounts>,
}

/// Pass 2: as many chunks as threads at once, written in order.
/// Returns the number of characters that were replaced.
fn tokenise(
    spool: &Path,
    tokenizer: &Tokenizer,
    stand_in: Option<char>,
    writers: &mut SplitWriters,
    progress: &ProgressBar,
) -> Result<u64> {
    let file = File::open(spool).map_err(|e| Error::io("read", spool, e))?;
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let mut replaced = 0;
    loop {
        let mut chunks = Vec::new();
        while chunks.len() < rayon::current_num_threads() {
            match chunk(&mut reader).map_err(|e| Error::io("read", spool, e))? {
                Some(records) => chunks.push(records),
                None => break,
            }
        }
        if chunks.is_empty() {
            return Ok(replaced);
        }
        let bytes: usize = chunks.iter().map(Vec::len).sum();
        let encoded: Vec<_> = chunks.into_par_iter().map(|records| encode(records, tokenizer, stand_in)).collect();
        for encoded in encoded {
            let encoded =
                encoded.map_err(|(before, e)| Error::failed(format!("record {}: {e}", writers.next + before + 1)))?;
            replaced += encoded.replaced;
            writers.push(&encoded)?;
        }
        progress.inc(bytes as u64);
    }
}

/// Whole records of about `CHUNK` bytes, or one longer than that.
fn chunk(reader: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut records = Vec::with_capacity(CHUNK);
    reader.by_ref().take(CHUNK as u64).read_to_end(&mut records)?;
    if !records.is_empty() && !records.ends_with(b"\n") {
        reader.read_until(b'\n', &mut records)?;
    }
    Ok((!records.is_empty()).then_some(records))
}

/// An error comes with the number of records before it.
fn encode(
    text: Vec<u8>,
    tokenizer: &Tokenizer,
    stand_in: Option<char>,
) -> std::result::Result<EncodedChunk, (u64, Error)> {
    let mut encoded = EncodedChunk { text: Vec::new(), replaced: 0, ids: Vec::new(), records: Vec::new() };
    let text = match stand_in {
        Some(stand_in) => tokenizer.replace_unknown(text, stand_in, &mut encoded.replaced).map_err(|e| (0, e))?,
        None => text,
    };
    for line in text.split_inclusive(|&b| b == b'\n') {
        let before = encoded.ids.len();
        let done = tokenizer.encode(&line[..line.len() - 1], &mut encoded.ids);
        done.map_err(|e| (encoded.records.len() as u64, e))?;
        encoded.ids.push(tokenizer.separator());
        let characters = line.iter().filter(|&&b| b & 0xc0 != 0x80).count();
        encoded.records.push(RecordCounts { tokens: encoded.ids.len() - before, bytes: line.len(), characters });
    }
    encoded.text = text;
    Ok(encoded)
}
