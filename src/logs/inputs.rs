//! The inputs of a command line -> the files to read, in order.

use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// One thing to read.
#[derive(Debug)]
pub(super) struct Source {
    /// As a message names it: the path, or `stdin`.
    pub name: String,
    /// `None`: standard input.
    pub path: Option<PathBuf>,
    /// Stored size; 0 where it is unknown.
    pub bytes: u64,
    /// Named by the user itself, not found in a folder or by a glob.
    pub named: bool,
}

/// Files as given; folders recursively, sorted by path, hidden entries and linked folders left out; globs sorted; `-`
/// for standard input.
///
/// Errors: a path that is not there or cannot be listed, a folder without files, a glob without matches, `-` twice.
pub(super) fn expand(inputs: &[String]) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for input in inputs {
        if input == "-" {
            if sources.iter().any(|s: &Source| s.path.is_none()) {
                return Err(Error::usage("standard input (-) is named twice; it can be read once"));
            }
            sources.push(Source { name: "stdin".into(), path: None, bytes: 0, named: true });
        } else if Path::new(input).exists() {
            add(Path::new(input), true, &mut sources)?;
        } else if input.contains(['*', '?', '[']) {
            add_glob(input, &mut sources)?;
        } else {
            return Err(Error::failed(format!("{input}: no such file or folder; check the path")));
        }
    }
    Ok(sources)
}

fn add(path: &Path, named: bool, sources: &mut Vec<Source>) -> Result<()> {
    let meta = fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
    if !meta.is_dir() {
        let name = path.display().to_string();
        sources.push(Source { name, path: Some(path.to_owned()), bytes: meta.len(), named });
        return Ok(());
    }
    let before = sources.len();
    add_folder(path, sources)?;
    if named && sources.len() == before {
        return Err(Error::failed(format!(
            "{}: the folder holds no files (hidden ones are skipped); name a folder or files with logs",
            path.display()
        )));
    }
    Ok(())
}

fn add_folder(folder: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|e| Error::io("list the folder", folder, e))?;
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("list the folder", folder, e))?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        // A linked folder could lead back to one of its parents.
        let linked_folder = entry.path().is_symlink() && entry.path().is_dir();
        if !hidden && !linked_folder {
            paths.push(entry.path());
        }
    }
    paths.sort();
    paths.iter().try_for_each(|path| add(path, false, sources))
}

fn add_glob(pattern: &str, sources: &mut Vec<Source>) -> Result<()> {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
    let paths = glob::glob_with(pattern, options)
        .map_err(|e| Error::usage(format!("{pattern}: not a valid pattern: {e}; quote or escape it")))?;
    let before = sources.len();
    for path in paths {
        let path = path.map_err(|e| Error::failed(format!("{pattern}: cannot list: {e}")))?;
        add(&path, false, sources)?;
    }
    if sources.len() == before {
        return Err(Error::failed(format!("{pattern}: no file matches this pattern")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(inputs: &[String]) -> Vec<String> {
        expand(inputs).unwrap().into_iter().map(|s| s.name).collect()
    }

    #[test]
    fn folders_are_recursive_and_sorted_without_hidden_files() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("b")).unwrap();
        fs::create_dir(at(".git")).unwrap();
        for name in ["c.log", "b/z", "b/a", ".hidden", ".git/x", "a.log"] {
            fs::write(at(name), "x\n").unwrap();
        }
        let want: Vec<String> = ["a.log", "b/a", "b/z", "c.log"].iter().map(|n| at(n).display().to_string()).collect();
        assert_eq!(names(&[dir.path().display().to_string()]), want);
        assert_eq!(names(&[at("*.log").display().to_string()]), [want[0].clone(), want[3].clone()]);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let message = |input: String| expand(&[input]).unwrap_err().to_string();
        assert!(message(at("none")).contains("no such file"));
        assert!(message(at("*.log")).contains("no file matches"));
        assert!(message(at("")).contains("holds no files"));
        assert!(expand(&["-".into(), "-".into()]).unwrap_err().to_string().contains("twice"));
    }
}
