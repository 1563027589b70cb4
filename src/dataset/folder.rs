//! An opened data folder, whose files are verified.

use super::format::PREPARE_AGAIN;
use super::meta::Meta;
use super::split::{Split, Vocabulary};
use crate::files::check_readable;
use crate::pseudonyms::SealedPseudonyms;
use crate::record::Records;
use crate::tokens::Tokenizer;
use crate::{Error, Result};
use std::path::Path;

/// A data folder; tokens stay on disk until they are read.
pub struct Dataset {
    pub meta: Meta,
    pub records: Records,
    pub tokenizer: Tokenizer,
    /// What later records need to get the same pseudonyms, if names are replaced.
    pub sealed: Option<SealedPseudonyms>,
    pub train: Split,
    pub val: Split,
    fingerprint: u32,
}

impl Dataset {
    /// Opens a folder that `prepare` wrote and verifies all of it: headers, lengths, checksums, and that its files belong
    /// together. Errors name the file, what is wrong with it, and the remedy.
    pub fn open(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::failed(format!(
                "{}: no such data folder; create one with `logwright prepare LOGS --out {}`",
                folder.display(),
                folder.display()
            )));
        }
        check_readable(folder)?;
        let meta = Meta::load(folder)?;
        let records = Records::load(folder)?
            .ok_or_else(|| Error::failed(format!("{}: no records.json; {PREPARE_AGAIN}", folder.display())))?;
        let tokenizer = Tokenizer::load(folder).map_err(|e| Error::failed(format!("{e}; {PREPARE_AGAIN}")))?;
        if (tokenizer.vocab_size(), tokenizer.separator()) != (meta.vocab_size, meta.separator) {
            return Err(Error::failed(format!(
                "{}: vocabulary {} and separator {}, but meta.json says {} and {}; {PREPARE_AGAIN}",
                folder.join("tokenizer.json").display(),
                tokenizer.vocab_size(),
                tokenizer.separator(),
                meta.vocab_size,
                meta.separator
            )));
        }
        let sealed = SealedPseudonyms::load(folder)?;
        let vocabulary = Vocabulary { size: meta.vocab_size, separator: meta.separator };
        let train = Split::open(folder, "train", &meta.train, vocabulary)?;
        let val = Split::open(folder, "val", &meta.val, vocabulary)?;
        let longest = train.longest_record().max(val.longest_record());
        if longest != meta.longest_record {
            return Err(Error::failed(format!(
                "{}: longest_record is {}, but the longest record has {longest} tokens; {PREPARE_AGAIN}",
                folder.join("meta.json").display(),
                meta.longest_record
            )));
        }
        let fingerprint = fingerprint(folder, [&train, &val])?;
        Ok(Self { meta, records, tokenizer, sealed, train, val, fingerprint })
    }

    /// A checksum that identifies the data: the tokens of both splits and the tokenizer, but not the names or places of the
    /// logs.
    pub fn fingerprint(&self) -> u32 {
        self.fingerprint
    }
}

/// CRC-32 over `tokenizer.json`, the lengths of both splits and the checksums of all shards.
fn fingerprint(folder: &Path, splits: [&Split; 2]) -> Result<u32> {
    let path = folder.join("tokenizer.json");
    let mut crc = crc32fast::Hasher::new();
    crc.update(&std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?);
    for split in splits {
        crc.update(&split.tokens().to_le_bytes());
        split.checksums().for_each(|checksum| crc.update(&checksum.to_le_bytes()));
    }
    Ok(crc.finalize())
}
