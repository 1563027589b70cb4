//! `prepare --part`: the first pass over one part of the inputs, in a folder that [`super::merge()`] reads.
//!
//! The folder holds the records as they were read, what was counted, and the names in them. Nothing in it depends on other parts;
//! whatever does (pseudonyms, tokenizer, split, schema) is settled when all are there.

use super::first_pass::{Alphabet, how_to_read};
use super::options::PrepareOptions;
use super::part_file::{Flags, PartFile};
use super::parts::NAMES;
use super::prepare::check_fraction;
use super::pseudonymise::learn_part;
use super::spool::SpoolWriter;
use super::target::{Target, check_target};
use crate::files::StagedFolder;
use crate::ingest::{ReadReport, read_part};
use crate::launch::Part;
use crate::tokens::TokenizerKind;
use crate::{Error, Result};
use indicatif::ProgressBar;
use std::path::Path;

/// Writes the part folder `options.out`, which appears complete or not at all. Memory and time are those of the first pass over the
/// part.
pub fn prepare_part(options: &PrepareOptions, part: Part, progress: &ProgressBar) -> Result<ReadReport> {
    check_fraction(options.val_fraction)?;
    check_target(&options.out, options.overwrite, Target::Part)?;
    let staged = StagedFolder::create_alone(&options.out).map_err(|e| Error::failed(format!("--out {e}")))?;
    check_target(&options.out, options.overwrite, Target::Part)?;
    progress.set_message("reading");
    let (report, mut file) = read(options, part, &staged.folder, progress)?;
    if let Some(tokenizer) = &options.existing {
        tokenizer.save(&staged.folder)?;
        file.flags.tokenizer_from = Some(checksum(&staged.folder.join("tokenizer.json"))?);
    }
    if let Some(continues) = options.pseudonymise.as_ref().and_then(|how| how.continues.as_ref()) {
        continues.save(&staged.folder)?;
    }
    file.save(&staged.folder)?;
    check_target(&options.out, options.overwrite, Target::Part)?;
    staged.publish().map_err(|e| Error::failed(format!("--out: {e}")))?;
    progress.finish_and_clear();
    Ok(report)
}

/// Reads the part into `folder`.
fn read(options: &PrepareOptions, part: Part, folder: &Path, progress: &ProgressBar) -> Result<(ReadReport, PartFile)> {
    let read = how_to_read(options, folder);
    let mut spool = SpoolWriter::create(folder)?;
    // Of records with pseudonyms, the characters are not known yet.
    let counts = options.tokenizer == TokenizerKind::Char && options.existing.is_none();
    let mut alphabet = (counts && options.pseudonymise.is_none()).then(Alphabet::new);
    let mut take = |record: &[u8]| {
        if let Some(alphabet) = &mut alphabet {
            alphabet.add(record);
        }
        spool.push(record)
    };
    let (report, shares) = match &options.pseudonymise {
        None => read_part(&options.inputs, &read, part, progress, &mut take)?,
        Some(how) => {
            let (report, shares, names) = learn_part(&options.inputs, &read, how, part, progress, &mut take)?;
            names.save_as(&folder.join(NAMES))?;
            (report, shares)
        }
    };
    let mut file = PartFile::new(part, Flags::of(options, None), shares, &report, spool.finish()?);
    file.characters = alphabet.map(|alphabet| alphabet.chars().into_iter().collect());
    Ok((report, file))
}

fn checksum(path: &Path) -> Result<u32> {
    std::fs::read(path).map(|bytes| crc32fast::hash(&bytes)).map_err(|e| Error::io("read", path, e))
}
