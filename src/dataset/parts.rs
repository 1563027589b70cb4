//! The parts of a corpus, which `prepare --part` has read: opened, checked that they belong together, and read as one.

use super::options::PrepareOptions;
use super::part_file::{AGAIN, PartFile};
use super::pseudonymise::{PseudonymOptions, Pseudonymised, Replacing, Sink};
use super::spool;
use crate::files::check_readable;
use crate::ingest::{
    InputFormat, InputShare, ReadOptions, ReadReport, RecordStart, SourceReport, check_prefixes, warn_of_mixture,
};
use crate::launch::Part;
use crate::pseudonyms::{Pseudonymizer, SealedPseudonyms, SecretKey};
use crate::tokens::Tokenizer;
use crate::{Error, Result};
use indicatif::ProgressBar;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// The names that a part has learnt.
pub(super) const NAMES: &str = "names.sealed";

struct OnePart {
    folder: PathBuf,
    part: Part,
    file: PartFile,
}

/// All parts of a corpus, in order.
pub(super) struct Parts(Vec<OnePart>);

impl Parts {
    /// Opens part folders, given in any order.
    ///
    /// Errors: a folder that is no part, or of another version; parts that were made with other flags, or of other inputs; one that
    /// is missing, or there twice. They name the folder.
    pub fn open(folders: &[PathBuf]) -> Result<Self> {
        let mut parts = Vec::with_capacity(folders.len());
        for folder in folders {
            check_readable(folder)?;
            let (file, part) = PartFile::load(folder)?;
            parts.push(OnePart { folder: folder.clone(), part, file });
        }
        parts.sort_by_key(|part| part.part.number());
        let parts = Self(parts);
        parts.check_numbers()?;
        parts.0[1..].iter().try_for_each(|part| parts.0[0].check_alike(part))?;
        parts.check_inputs()?;
        Ok(parts)
    }

    fn check_numbers(&self) -> Result<()> {
        let first = &self.0[0];
        for part in &self.0[1..] {
            if part.part.of() != first.part.of() {
                return Err(Error::usage(format!(
                    "{}: this is part {}, but {} is part {}; name the parts of one corpus",
                    part.name(),
                    part.part,
                    first.name(),
                    first.part
                )));
            }
        }
        if let Some([one, other]) = self.0.windows(2).find(|pair| pair[0].part == pair[1].part) {
            return Err(Error::usage(format!(
                "{} and {}: both are part {}; name each part once",
                one.name(),
                other.name(),
                one.part
            )));
        }
        let mut wanted = (1..=first.part.of()).zip(self.0.iter().map(Some).chain(std::iter::repeat(None)));
        match wanted.find(|(number, part)| part.is_none_or(|part| part.part.number() != *number)) {
            None => Ok(()),
            Some((number, _)) => {
                let of = first.part.of();
                Err(Error::usage(format!(
                    "part {number}/{of} is missing: name its folder too, or make it with prepare --part {number}/{of} and the flags \
                     of the others"
                )))
            }
        }
    }

    /// Checks that together the parts have read every byte of every input once.
    fn check_inputs(&self) -> Result<()> {
        for at in 0..self.0[0].file.inputs.len() {
            let mut read_to = None;
            for part in &self.0 {
                let InputShare { name, size, read, .. } = &part.file.inputs[at];
                let Some((begin, end)) = *read else { continue };
                if begin != read_to.unwrap_or(0) || end < begin || end > *size {
                    return Err(part.other_inputs(&format!(
                        "it has read {name} from byte {begin} on, and the parts before it up to byte {}",
                        read_to.unwrap_or(0)
                    )));
                }
                read_to = Some(end);
            }
            let input = &self.0[0].file.inputs[at];
            if read_to != Some(input.size) {
                return Err(self.0[0].other_inputs(&format!("no part has read {} to its end", input.name)));
            }
        }
        Ok(())
    }

    /// What was read, as one process would report it.
    fn report(&self) -> ReadReport {
        let mut report = ReadReport::default();
        for at in 0..self.0[0].file.inputs.len() {
            let found = self.0.iter().filter_map(|part| part.file.inputs[at].found.clone());
            if let Some(source) = found.reduce(joined) {
                report.records += source.records;
                report.bytes += source.bytes;
                report.sources.push(source);
            }
        }
        self.0.iter().for_each(|part| part.file.read.add_to(&mut report));
        report
    }

    /// The report, if there are records.
    fn some(&self) -> Result<ReadReport> {
        let report = self.report();
        warn_of_mixture(&report);
        if report.records > 0 {
            return Ok(report);
        }
        Err(Error::failed(format!(
            "{}: no complete record in any part ({} empty lines, {} bad records left out), so there is nothing to prepare",
            self.0[0].name(),
            report.empty_lines,
            report.bad_records
        )))
    }

    /// The characters of all records, if the parts have counted them.
    pub fn characters(&self) -> Option<BTreeSet<char>> {
        let texts: Option<Vec<&String>> = self.0.iter().map(|part| part.file.characters.as_ref()).collect();
        texts.map(|texts| texts.into_iter().flat_map(|text| text.chars()).collect())
    }

    /// Passes all records to `sink`, in order.
    pub fn read(&self, progress: &ProgressBar, sink: Sink) -> Result<ReadReport> {
        let report = self.some()?;
        check_prefixes(&self.0[0].file.flags.prefix_field, &report)?;
        progress.set_length(report.bytes);
        self.each(&mut |record| {
            progress.inc(record.len() as u64 + 1);
            sink(record)
        })?;
        Ok(report)
    }

    fn each(&self, sink: Sink) -> Result<()> {
        self.0.iter().try_for_each(|part| spool::read(&part.folder, part.file.records, sink))
    }

    /// Replaces the names that the parts have learnt, in all records.
    pub fn replace_names(
        &self,
        read: &ReadOptions,
        how: &PseudonymOptions,
        progress: &ProgressBar,
        sink: Sink,
    ) -> Result<Pseudonymised> {
        let report = self.some()?;
        let learnt = self.0.iter().map(|part| part.names(&how.key)).collect::<Result<Vec<_>>>()?;
        let rules = learnt[0].rules(&how.key)?;
        let mut pseudonyms = match &how.continues {
            None => Pseudonymizer::new(how.key.clone(), rules),
            Some(sealed) => Pseudonymizer::continuing(how.key.clone(), sealed, Some(rules))?,
        };
        for (part, learnt) in self.0.iter().zip(&learnt) {
            if !pseudonyms.absorb(&how.key, learnt)? {
                return Err(self.0[0].other_flag(part, "--rules or --allow"));
            }
        }
        Replacing::new(pseudonyms, read, how)?.all(report, |each| self.each(each), progress, sink)
    }

    /// How the parts were prepared, and so is what they are merged into.
    ///
    /// Errors: a key for parts without pseudonyms, and the other way round.
    pub fn options(
        &self,
        out: PathBuf,
        key: Option<SecretKey>,
        write_records: Option<PathBuf>,
    ) -> Result<PrepareOptions> {
        let (flags, folder) = (&self.0[0].file.flags, &self.0[0].folder);
        let existing = flags.tokenizer_from.map(|_| Tokenizer::load(folder)).transpose()?;
        let pseudonymise = match (flags.pseudonymise, key) {
            (false, None) => None,
            (true, Some(key)) => {
                let continues = SealedPseudonyms::load(folder)?.map(Arc::new);
                Some(PseudonymOptions { key, rules: None, allow: None, continues, count_words: false, write_records })
            }
            (true, None) => {
                return Err(Error::usage(format!(
                    "{}: its names are to be replaced; give --key-file with the key of prepare --pseudonymise",
                    folder.display()
                )));
            }
            (false, Some(_)) => {
                return Err(Error::usage(format!(
                    "--key-file: {} was prepared without --pseudonymise, so no names are replaced; omit the flag",
                    folder.display()
                )));
            }
        };
        let defaults = PrepareOptions::new(Vec::<PathBuf>::new(), out);
        Ok(PrepareOptions {
            read: ReadOptions {
                format: flags.format,
                bad_records: flags.bad_records,
                record_start: flags.record_start.as_deref().map_or(Ok(RecordStart::Find), RecordStart::parse)?,
                max_record_bytes: flags.max_record_bytes as usize,
                open: flags.open.clone(),
                prefixes: flags.prefix_field.clone(),
                ..ReadOptions::default()
            },
            tokenizer: flags.tokenizer,
            existing,
            replace_unknown: flags.replace_unknown,
            vocab_size: flags.vocab_size,
            val_fraction: flags.val_fraction,
            split: flags.split,
            seed: flags.seed,
            pseudonymise,
            canaries: flags.canaries,
            ..defaults
        })
    }
}

/// What two parts have found in one file.
fn joined(before: SourceReport, after: SourceReport) -> SourceReport {
    SourceReport {
        // Objects of JSON lines may turn out to be arranged otherwise.
        format: if before.format == after.format { before.format } else { InputFormat::Json },
        records: before.records + after.records,
        bytes: before.bytes + after.bytes,
        skipped: before.skipped + after.skipped,
        ..before
    }
}

impl OnePart {
    fn name(&self) -> std::path::Display<'_> {
        self.folder.display()
    }

    /// Checks that another part was made with the same flags, of the same inputs.
    fn check_alike(&self, other: &OnePart) -> Result<()> {
        if let Some(flag) = self.file.flags.difference(&other.file.flags) {
            return Err(self.other_flag(other, &flag));
        }
        let names = |part: &OnePart| -> Vec<(String, u64)> {
            part.file.inputs.iter().map(|input| (input.name.clone(), input.size)).collect()
        };
        let (own, others) = (names(self), names(other));
        let differs = own.iter().zip(&others).find(|(own, other)| own != other);
        match differs {
            None if own.len() == others.len() => Ok(()),
            Some((own, other_one)) if own.0 == other_one.0 => Err(other.other_inputs(&format!(
                "{} had {} bytes there, and {} in {}",
                own.0,
                other_one.1,
                own.1,
                self.name()
            ))),
            _ => {
                let missing = |these: &[(String, u64)], those: &[(String, u64)]| {
                    these.iter().find(|this| !those.iter().any(|that| that.0 == this.0)).map(|this| this.0.clone())
                };
                Err(other.other_inputs(&match (missing(&own, &others), missing(&others, &own)) {
                    (Some(name), _) => format!("{} has read {name}", self.name()),
                    (_, Some(name)) => format!("it has read {name}, and {} has not", self.name()),
                    _ => format!("they have another order in {}", self.name()),
                }))
            }
        }
    }

    fn other_flag(&self, other: &OnePart, flag: &str) -> Error {
        Error::usage(format!(
            "{}: {flag} differs from that of {}; prepare all parts with the same flags",
            other.name(),
            self.name()
        ))
    }

    fn other_inputs(&self, why: &str) -> Error {
        Error::usage(format!(
            "{}: it is a part of other inputs: {why}; prepare all parts of the same files, after these have stopped growing",
            self.name()
        ))
    }

    fn names(&self, key: &SecretKey) -> Result<SealedPseudonyms> {
        let path = self.folder.join(NAMES);
        let missing = || Error::failed(format!("{}: no such file; {AGAIN}", path.display()));
        let names = SealedPseudonyms::load_from(&path, AGAIN)?.ok_or_else(missing)?;
        if names.is_of(key) {
            return Ok(names);
        }
        Err(Error::usage(format!(
            "--key-file: {} was prepared with another key; prepare all parts with the same key file, and give that",
            self.name()
        )))
    }
}
