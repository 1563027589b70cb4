//! The state file of `score --follow --state`: how far a growing file was answered.

use super::position::Position;
use crate::files::write_atomic;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const VERSION: u32 = 1;

/// The shortest time between two writes: each waits for the disk.
const INTERVAL: Duration = Duration::from_millis(250);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    version: u32,
    /// The name of the growing file, without its folder.
    file: String,
    /// The number of records up to the position, so that numbers continue.
    records: u64,
    position: Position,
}

/// A state file, and what is to be written to it.
pub struct FollowState {
    path: PathBuf,
    file: String,
    saved: Option<Saved>,
    /// The state that is not written yet.
    pending: Option<Saved>,
    written: Instant,
}

impl FollowState {
    /// Opens the state of the growing file `followed`; the file need not exist.
    ///
    /// Errors: a file that is no state, or that of another log.
    pub fn open(path: &Path, followed: &Path) -> Result<Self> {
        let file = followed.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let saved = match std::fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("read the state", path, error)),
            Ok(text) => Some(parse(path, &text, &file)?),
        };
        Ok(FollowState { path: path.to_owned(), file, saved, pending: None, written: Instant::now() })
    }

    /// Where the file is to be read from, and the number of records before.
    pub fn resume(&self) -> Option<(Position, u64)> {
        self.saved.as_ref().map(|saved| (saved.position, saved.records))
    }

    /// Everything up to `position` was answered: `records` in all. It is written soon, or by [`FollowState::save`].
    pub fn advance(&mut self, position: Position, records: u64) -> Result<()> {
        self.pending = Some(Saved { version: VERSION, file: self.file.clone(), records, position });
        if self.written.elapsed() < INTERVAL { Ok(()) } else { self.save() }
    }

    /// Writes what is not written yet, if it has waited long enough.
    pub fn idle(&mut self) -> Result<()> {
        if self.written.elapsed() < INTERVAL { Ok(()) } else { self.save() }
    }

    /// Writes what is not written yet.
    pub fn save(&mut self) -> Result<()> {
        let Some(saved) = self.pending.take() else { return Ok(()) };
        self.written = Instant::now();
        write_atomic(&self.path, (serde_json::to_string(&saved).map_err(Error::failed)? + "\n").as_bytes())
    }
}

fn parse(path: &Path, text: &[u8], file: &str) -> Result<Saved> {
    let shown = path.display();
    let remedy = "give --state another name, or remove the file to read the log from its beginning";
    let saved: Saved = serde_json::from_slice(text).map_err(|e| {
        Error::failed(format!("{shown}: expected the state of a followed file, found something else ({e}); {remedy}"))
    })?;
    if saved.version != VERSION {
        let found = saved.version;
        return Err(Error::failed(format!(
            "{shown}: expected a state of version {VERSION}, found version {found}; {remedy}"
        )));
    }
    if saved.file != file {
        return Err(Error::usage(format!(
            "--state {shown}: it belongs to a file named {}, not {file}; {remedy}",
            saved.file
        )));
    }
    Ok(saved)
}
