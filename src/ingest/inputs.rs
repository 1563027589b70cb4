//! Resolves the inputs of a command line to the files to read, in order.

use super::glob;
use super::stdin::STDIN;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use tracing::warn;

/// A file to read, or standard input.
#[derive(Debug)]
pub(super) struct Source {
    /// The name in messages: the path, or that of standard input.
    pub name: String,
    /// `None`: standard input.
    pub path: Option<PathBuf>,
    /// The stored size in bytes; 0 where it is unknown.
    pub bytes: u64,
    /// Whether the user named the file itself, instead of a folder or glob that contains it.
    pub named: bool,
}

/// Returns files as they are named, folders recursively in the order of [`glob::list`] without hidden entries and linked
/// folders, the matches of globs in the same order, and standard input for `-`. Folders and globs give regular files only:
/// pipes, sockets, devices and dangling links are left out with a warning. A file that is found twice is read once. Folders
/// in `leave_out` are not entered.
///
/// Errors: a path that does not exist or cannot be listed, a named path inside `leave_out`, a folder without files, a glob
/// without matches, `-` twice.
pub(super) fn expand(inputs: &[PathBuf], leave_out: &[PathBuf]) -> Result<Vec<Source>> {
    let leave_out = leave_out.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let mut found = InputList { sources: Vec::new(), seen: BTreeMap::new(), input: 0, leave_out };
    for (number, input) in inputs.iter().enumerate() {
        found.input = number;
        if input.as_os_str() == "-" {
            found.add_stdin()?;
        } else if let Ok(meta) = fs::metadata(input) {
            found.add_named(input, &meta)?;
        } else if let Some(text) = input.to_str().filter(|text| glob::is_pattern(text)) {
            found.add_matches(text)?;
        } else {
            return Err(Error::failed(format!("{}: no such file or folder; check the path", input.display())));
        }
    }
    Ok(found.sources)
}

struct InputList {
    sources: Vec<Source>,
    /// The canonical path of each file so far, with the number of the input that it comes from.
    seen: BTreeMap<PathBuf, usize>,
    input: usize,
    leave_out: Vec<PathBuf>,
}

impl InputList {
    fn add_stdin(&mut self) -> Result<()> {
        if self.sources.iter().any(|source| source.path.is_none()) {
            return Err(Error::usage("standard input (-) is named twice, but it can be read only once"));
        }
        self.sources.push(Source { name: STDIN.into(), path: None, bytes: 0, named: true });
        Ok(())
    }

    /// Adds a path that the user named: a file of any kind (also a pipe), or a folder.
    fn add_named(&mut self, path: &Path, meta: &Metadata) -> Result<()> {
        if self.is_left_out(path) {
            return Err(Error::usage(format!(
                "{}: this is in the folder that is being written; name only the logs",
                path.display()
            )));
        }
        if !meta.is_dir() {
            self.add_file(path, meta, true);
            return Ok(());
        }
        let before = self.sources.len();
        self.add_folder(path)?;
        if self.sources.len() == before && !self.holds_seen(path) {
            return Err(Error::failed(format!(
                "{}: the folder holds no files (hidden ones are skipped); name a folder or files with logs",
                path.display()
            )));
        }
        Ok(())
    }

    fn add_matches(&mut self, text: &str) -> Result<()> {
        let paths = glob::matches(text)?;
        if paths.is_empty() {
            return Err(Error::failed(format!("{text}: no file matches this pattern")));
        }
        paths.iter().try_for_each(|path| self.add_found(path))
    }

    fn add_folder(&mut self, folder: &Path) -> Result<()> {
        for name in glob::list(folder)? {
            let path = folder.join(&name);
            let hidden = name.as_encoded_bytes().starts_with(b".");
            // A linked folder could lead back to one of its parents.
            let linked_folder = path.is_symlink() && path.is_dir();
            if !hidden && !linked_folder {
                self.add_found(&path)?;
            }
        }
        Ok(())
    }

    /// Adds a path that was found in a folder or by a glob.
    fn add_found(&mut self, path: &Path) -> Result<()> {
        if self.is_left_out(path) {
            tracing::info!("{}: left out, because it is being written", path.display());
            return Ok(());
        }
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => self.add_folder(path)?,
            Ok(meta) if meta.is_file() => self.add_file(path, &meta, false),
            Ok(_) => warn!("{}: left out, it is not a regular file; name it to read it", path.display()),
            Err(error) if path.is_symlink() => {
                warn!("{}: left out, it is a link to something that cannot be reached ({error})", path.display());
            }
            Err(error) => return Err(Error::io("read", path, error)),
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path, meta: &Metadata, named: bool) {
        // A pipe has no canonical path.
        if meta.is_file()
            && let Ok(real) = path.canonicalize()
            && let Some(before) = self.seen.insert(real, self.input)
        {
            // One glob may match both a folder and the files in it; this needs no warning.
            if before != self.input {
                warn!("{}: named more than once, but read only once", path.display());
            }
            return;
        }
        let name = path.display().to_string();
        self.sources.push(Source { name, path: Some(path.to_owned()), bytes: meta.len(), named });
    }

    fn is_left_out(&self, path: &Path) -> bool {
        let real = path.canonicalize();
        real.is_ok_and(|real| self.leave_out.iter().any(|folder| real.starts_with(folder)))
    }

    fn holds_seen(&self, folder: &Path) -> bool {
        folder.canonicalize().is_ok_and(|real| self.seen.keys().any(|path| path.starts_with(&real)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    use std::os::unix::fs::symlink;

    fn names(inputs: &[PathBuf]) -> Vec<String> {
        expand(inputs, &[]).unwrap().into_iter().map(|s| s.name).collect()
    }

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x\n").unwrap();
        }
        dir
    }

    /// The names found, relative to the folder.
    fn inside(dir: &tempfile::TempDir, patterns: &[&str]) -> Vec<String> {
        let inputs: Vec<_> = patterns.iter().map(|p| dir.path().join(p)).collect();
        let base = format!("{}/", dir.path().display());
        names(&inputs).iter().map(|name| name.strip_prefix(&base).unwrap().to_string()).collect()
    }

    #[test]
    fn folders_are_recursive_and_sorted_without_hidden_files() {
        let dir = folder(&["c.log", "b/z", "b/a", ".hidden", ".git/x", "a.log"]);
        assert_eq!(inside(&dir, &[""]), ["a.log", "b/a", "b/z", "c.log"]);
        assert_eq!(inside(&dir, &["*.log"]), ["a.log", "c.log"]);
        assert_eq!(inside(&dir, &["?/[a-y]"]), ["b/a"]);
        assert_eq!(inside(&dir, &["**/z"]), ["b/z"]);
        assert_eq!(inside(&dir, &["**"]), ["a.log", "b/a", "b/z", "c.log"]);
        assert_eq!(inside(&dir, &["**/*.log"]), ["a.log", "c.log"]);
    }

    #[test]
    fn rotated_files_are_read_from_the_oldest() {
        let dir = folder(&["syslog", "syslog.1", "syslog.2.gz", "syslog.10.gz", "app.1", "app.10", "app.2", "t"]);
        let rotated = ["syslog.10.gz", "syslog.2.gz", "syslog.1", "syslog"];
        assert_eq!(inside(&dir, &["s*"]), rotated);
        assert_eq!(inside(&dir, &[""]), [&["app.1", "app.10", "app.2"], &rotated[..], &["t"]].concat());
    }

    #[test]
    fn a_file_met_twice_is_read_once() {
        let dir = folder(&["a.log", "b.log"]);
        assert_eq!(inside(&dir, &["*.log", "", "b.log"]), ["a.log", "b.log"]);
    }

    #[test]
    fn only_regular_files_are_found() {
        let dir = folder(&["a.log"]);
        symlink(dir.path().join("none"), dir.path().join("dangling.log")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket.log")).unwrap();
        symlink("/dev/zero", dir.path().join("zero.log")).unwrap();
        assert_eq!(inside(&dir, &[""]), ["a.log"]);
        assert_eq!(inside(&dir, &["*.log"]), ["a.log"]);
    }

    #[test]
    fn names_need_not_be_utf8_and_may_look_like_patterns() {
        let dir = folder(&["a[1].log"]);
        assert_eq!(inside(&dir, &["a[1].log"]), ["a[1].log"]);
        let not_utf8 = dir.path().join(OsString::from_vec(b"b\xff.log".to_vec()));
        fs::write(&not_utf8, "x\n").unwrap();
        assert_eq!(inside(&dir, &["*.log"]), ["a[1].log", "b\u{fffd}.log"]);
        assert_eq!(names(&[not_utf8]).len(), 1);
        let none = dir.path().join(OsString::from_vec(b"\xff*".to_vec()));
        assert!(expand(&[none], &[]).unwrap_err().to_string().contains("no such file"));
    }

    #[test]
    fn what_is_being_written_is_left_out() {
        let dir = folder(&["a.log", "data/meta.json"]);
        let out = dir.path().join("data");
        let found = expand(&[dir.path().into()], std::slice::from_ref(&out)).unwrap();
        assert_eq!(found.len(), 1);
        let message = expand(&[out.join("meta.json")], std::slice::from_ref(&out)).unwrap_err().to_string();
        assert!(message.contains("being written"), "{message}");
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let message = |name: &str| expand(&[dir.path().join(name)], &[]).unwrap_err().to_string();
        assert!(message("none").contains("no such file"));
        assert!(message("*.log").contains("no file matches"));
        assert!(message("[").contains("not a valid pattern"));
        assert!(message("").contains("holds no files"));
        assert!(expand(&["-".into(), "-".into()], &[]).unwrap_err().to_string().contains("twice"));
    }
}
