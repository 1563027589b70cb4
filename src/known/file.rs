//! `known.json`: whole or absent, private, and written by one process at a time.

use super::entry::{Entry, Judgement};
use crate::files::{Lock, write_atomic};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Name of the file in the folder that `--model` names.
pub const FILE: &str = "known.json";
const VERSION: u32 = 1;

#[derive(Default, Serialize, Deserialize)]
struct Contents {
    version: u32,
    entries: Vec<Entry>,
}

/// The entries of a file. It is locked where it is to be changed.
pub struct KnownFile {
    path: PathBuf,
    pub entries: Vec<Entry>,
    _lock: Option<Lock>,
}

impl KnownFile {
    /// Reads the file in `folder`; without one nothing is known.
    ///
    /// Errors: a damaged file.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = match std::fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            text => Some(text.map_err(|e| Error::io("read", &path, e))?),
        };
        let entries = text.map_or(Ok(Vec::new()), |text| parse(&path, &text))?;
        Ok(KnownFile { path, entries, _lock: None })
    }

    /// The same to change it.
    ///
    /// Errors: another process changes it.
    pub fn change(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let lock = Lock::beside(&path)?.ok_or_else(|| {
            Error::failed(format!("{}: another process is changing it; run the command again", path.display()))
        })?;
        Ok(KnownFile { _lock: Some(lock), ..Self::read(folder)? })
    }

    /// Adds an entry.
    ///
    /// Errors: it is known already, or the opposite is.
    pub fn add(&mut self, entry: Entry) -> Result<()> {
        if let Some(known) = self.entries.iter().find(|known| known.what == entry.what) {
            let (path, id, command) = (self.path.display(), &known.id, known.state.command());
            return Err(Error::usage(match known.state == entry.state {
                true => format!("{path}: {id} says so already, since {}: {}", known.date, known.reason),
                false => {
                    format!(
                        "{path}: {id} says the opposite; remove it first: logwright {command} remove --model RUN {id}"
                    )
                }
            }));
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Removes an entry by its identifier, and returns it.
    ///
    /// Errors: there is none.
    pub fn remove(&mut self, state: Judgement, id: &str) -> Result<Entry> {
        let Some(place) = self.entries.iter().position(|entry| entry.id == id) else {
            let (path, command) = (self.path.display(), state.command());
            return Err(Error::usage(format!(
                "{path}: no entry has the id {id}; logwright {command} list --model RUN shows all"
            )));
        };
        let other = state.other().command();
        match self.entries[place].state == state {
            true => Ok(self.entries.remove(place)),
            false => Err(Error::usage(format!(
                "{}: {id} is {other}; remove it with: logwright {other} remove --model RUN {id}",
                self.path.display()
            ))),
        }
    }

    /// Writes the file.
    pub fn save(&self) -> Result<()> {
        let contents = Contents { version: VERSION, entries: self.entries.clone() };
        let text = serde_json::to_string_pretty(&contents).map_err(Error::failed)? + "\n";
        write_atomic(&self.path, text.as_bytes())
    }
}

fn parse(path: &Path, text: &[u8]) -> Result<Vec<Entry>> {
    let refuse = |problem: String| {
        Error::failed(format!(
            "{}: {problem}; restore the file from a copy, or move it away, and nothing is known",
            path.display()
        ))
    };
    let found: Contents =
        serde_json::from_slice(text).map_err(|e| refuse(format!("not a complete list of what is known ({e})")))?;
    if found.version != VERSION {
        return Err(refuse(format!("version is {}, expected {VERSION}", found.version)));
    }
    for (number, entry) in found.entries.iter().enumerate() {
        entry.check().map_err(|problem| refuse(format!("entries[{number}].{problem}")))?;
        if found.entries[..number].iter().any(|other| other.id == entry.id) {
            return Err(refuse(format!("entries[{number}].id is {}, which an entry before it has", entry.id)));
        }
    }
    Ok(found.entries)
}

#[cfg(test)]
mod tests {
    use super::super::entry::What;
    use super::*;

    fn field(state: Judgement, value: &str) -> Entry {
        Entry::new(state, What::Field { path: "ip".into(), value: value.into() }, "a test")
    }

    #[test]
    fn entries_come_back_as_they_were_added() {
        let home = tempfile::tempdir().unwrap();
        assert!(KnownFile::read(home.path()).unwrap().entries.is_empty());
        let mut file = KnownFile::change(home.path()).unwrap();
        assert!(KnownFile::change(home.path()).is_err_and(|e| e.to_string().contains("another process")));
        let (good, bad) = (field(Judgement::Good, "a"), field(Judgement::Bad, "b"));
        file.add(good.clone()).unwrap();
        file.add(bad.clone()).unwrap();
        file.save().unwrap();
        drop(file);
        let mut file = KnownFile::change(home.path()).unwrap();
        assert_eq!(file.entries, [good.clone(), bad.clone()]);
        let refused =
            |result: Result<()>, part: &str| assert!(result.is_err_and(|e| e.to_string().contains(part)), "{part}");
        refused(file.add(good.clone()), "says so already");
        refused(file.add(field(Judgement::Bad, "a")), "known-good remove");
        refused(file.remove(Judgement::Good, &bad.id).map(|_| ()), "known-bad remove");
        refused(file.remove(Judgement::Good, "0").map(|_| ()), "no entry has the id 0");
        assert_eq!(file.remove(Judgement::Good, &good.id).unwrap(), good);
        assert_eq!(file.entries, [bad]);
    }

    #[test]
    fn damage_is_named() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(FILE);
        let entry = |id: &str, date: &str, what: &str| {
            format!(r#"{{"id":"{id}","state":"good",{what},"reason":"","date":"{date}"}}"#)
        };
        let (field, date) = (r#""scope":"field","what":{"path":"a","value":"b"}"#, "2026-01-31T10:00:00Z");
        let good = entry("01234567", date, field);
        for (version, entries, part) in [
            (1, good.clone(), ""),
            (2, good.clone(), "version is 2, expected 1"),
            (1, format!("{good},{good}"), "entries[1].id is 01234567, which"),
            (1, entry("0123456", date, field), "entries[0].id is \"0123456\", expected 8"),
            (1, entry("01234567", "today", field), "entries[0].date is \"today\""),
            (
                1,
                entry("01234567", date, r#""scope":"record","what":{"digest":"x"}"#),
                "entries[0].what.digest is \"x\"",
            ),
            (
                1,
                entry("01234567", date, r#""scope":"template","what":{"template":[],"odd":{"a":null}}"#),
                "what.odd has no value",
            ),
            (1, entry("01234567", date, r#""scope":"field","what":{"path":"a"}"#), "missing field `value`"),
            (1, good.replace("good", "fine"), "unknown variant `fine`"),
            (1, good.replace("01234567", "0123"), "restore the file from a copy"),
        ] {
            std::fs::write(&path, format!(r#"{{"version":{version},"entries":[{entries}]}}"#)).unwrap();
            match KnownFile::read(home.path()) {
                Ok(file) => assert_eq!((part, file.entries.len()), ("", 1)),
                Err(error) => assert!(!part.is_empty() && error.to_string().contains(part), "{part}: {error}"),
            }
        }
    }
}
