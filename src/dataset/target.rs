//! Whether a data folder may be written where the user wants it.

use super::meta::Meta;
use super::part_file::{self, PartFile};
use super::{parts, spool};
use crate::pseudonyms::SEALED_FILE;
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A kind of folder that `prepare` writes.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Target {
    Data,
    Part,
}

impl Target {
    fn noun(self) -> &'static str {
        if self == Target::Data { "data" } else { "part" }
    }

    /// The file that says what the folder is.
    fn says(self) -> &'static str {
        if self == Target::Data { "meta.json" } else { part_file::FILE }
    }

    fn is_in(self, folder: &Path) -> bool {
        if self == Target::Data { Meta::is_in(folder) } else { PartFile::is_in(folder) }
    }

    /// Whether `prepare` writes files of this name into it.
    fn owns(self, name: &str) -> bool {
        match self {
            Target::Data => is_own(name),
            Target::Part => PART_FILES.contains(&name),
        }
    }
}

const PART_FILES: [&str; 6] =
    [part_file::FILE, spool::FILE, parts::NAMES, SEALED_FILE, "tokenizer.json", "tokenizer_config.json"];

/// Returns an error for a target that exists, unless it is an empty folder, or `overwrite` is set and it is a folder of this kind with
/// nothing in it but the files that `prepare` writes.
pub(super) fn check_target(target: &Path, overwrite: bool, kind: Target) -> Result<()> {
    let empty = fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none());
    if !target.exists() || empty {
        return Ok(());
    }
    let refused = |found: String| Err(Error::usage(format!("--out {}: {found}", target.display())));
    if !overwrite {
        return refused("this already exists; choose another name, or replace it with --overwrite".into());
    }
    if !kind.is_in(target) {
        return refused(format!(
            "this is not a {} folder (it has no {} as prepare writes it), so --overwrite does not replace it; choose another name, \
             or remove it yourself",
            kind.noun(),
            kind.says()
        ));
    }
    match foreign(target, kind)? {
        None => Ok(()),
        Some(path) => refused(format!(
            "{} is not a file of a {} folder, and --overwrite would delete it; move it elsewhere, or choose another name",
            path.display(),
            kind.noun()
        )),
    }
}

/// Something in the folder that `prepare` did not write.
fn foreign(folder: &Path, kind: Target) -> Result<Option<PathBuf>> {
    let failed = |e| Error::io("list the folder", folder, e);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_file = entry.file_type().map_err(failed)?.is_file();
        if !is_file || !entry.file_name().to_str().is_some_and(|name| kind.owns(name)) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// Whether `prepare` writes files of this name into a data folder.
fn is_own(name: &str) -> bool {
    let fixed = [
        "meta.json",
        "records.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "pseudonyms.json",
        SEALED_FILE,
        "canaries.json",
        "train.idx",
        "val.idx",
    ];
    let shard = |split| {
        let number = name.strip_prefix(split)?.strip_suffix(".bin")?;
        (number.len() >= 5 && number.bytes().all(|digit| digit.is_ascii_digit())).then_some(())
    };
    fixed.contains(&name) || shard("train-").or(shard("val-")).is_some()
}

#[cfg(test)]
mod tests {
    use super::is_own;

    #[test]
    fn only_own_names_are_own() {
        assert!(["train-00000.bin", "val-00012.bin", "val.idx", "meta.json"].iter().all(|name| is_own(name)));
        assert!(
            ["notes.txt", "train-.bin", "train-abcde.bin", "train-00000.bin.bak", ".lock"].iter().all(|n| !is_own(n))
        );
    }
}
