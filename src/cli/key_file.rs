//! `--key-file` of the commands that give raw records to a model: if it was trained on pseudonyms, names are replaced on the
//! way in, by those that its training records had.

use clap::Args;
use logwright::pseudonyms::{RecordPseudonyms, SEALED_FILE, SealedPseudonyms, SecretKey};
use logwright::record::Records;
use logwright::{Error, Result};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct KeyArgs {
    /// For a model trained on pseudonyms: replace names on the way in, with the key of its prepare --pseudonymise
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl KeyArgs {
    pub fn is_given(&self) -> bool {
        self.key_file.is_some()
    }

    /// The pseudonyms of the model in `folder`. Without a key there are none, and a warning if the model expects them.
    ///
    /// Errors: a key for a model that was trained on originals, or on pseudonyms of another key.
    pub fn open(&self, folder: &Path, records: &Records) -> Result<Option<RecordPseudonyms>> {
        let Some(path) = &self.key_file else {
            if records.pseudonymised {
                tracing::warn!(
                    "{}: this model was trained on pseudonyms, and real names look unusual to it; give --key-file with the key of \
                     prepare --pseudonymise, unless the input is pseudonymised already",
                    folder.display()
                );
            }
            return Ok(None);
        };
        if !records.pseudonymised {
            return Err(Error::usage(format!(
                "--key-file {}: the model in {} was not trained on pseudonyms (its records.json says so); omit --key-file",
                path.display(),
                folder.display()
            )));
        }
        let key = SecretKey::read(path)?;
        let sealed = SealedPseudonyms::load(folder)?.ok_or_else(|| {
            Error::failed(format!(
                "{}: it has no {SEALED_FILE}, because it was removed or prepared by an earlier version; run prepare --pseudonymise again, \
                 train on the result, or give pseudonymised records without --key-file",
                folder.display()
            ))
        })?;
        check(path, &key, folder, &sealed)?;
        RecordPseudonyms::open(key, &sealed).map(Some)
    }
}

/// Refuses a key that is not the one of the folder.
pub fn check(path: &Path, key: &SecretKey, folder: &Path, sealed: &SealedPseudonyms) -> Result<()> {
    match sealed.is_of(key) {
        true => Ok(()),
        false => Err(Error::usage(format!(
            "--key-file {}: it is another key than that of the pseudonyms of {}; give the key file that prepare was given",
            path.display(),
            folder.display()
        ))),
    }
}
