//! Lists folders in reading order, and expands patterns such as `logs/**/*.gz`. Names may contain any bytes.

use crate::{Error, Result};
use glob::{MatchOptions, Pattern};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

const MARKS: [char; 3] = ['*', '?', '['];

/// Only a literal dot matches a leading dot.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(MARKS)
}

/// The paths that match, in the order of [`list`]; bytes that are not UTF-8 match `?`.
///
/// Errors: an invalid pattern, a folder that cannot be listed.
pub(super) fn matches(text: &str) -> Result<Vec<PathBuf>> {
    let mut paths = vec![PathBuf::new()];
    // As the last part, `**` selects the same files as the folder before it.
    for part in Path::new(text.trim_end_matches("/**")).components() {
        let name = part.as_os_str().to_str().unwrap_or_default();
        let mut next = Vec::new();
        match part {
            Component::Normal(_) if name == "**" => {
                paths.iter().try_for_each(|path| add_folders(path, &mut next))?;
            }
            Component::Normal(_) if is_pattern(name) => {
                let pattern = Pattern::new(name)
                    .map_err(|e| Error::usage(format!("{text}: not a valid pattern: {e}; quote or escape it")))?;
                for path in paths.iter().filter(|path| here(path).is_dir()) {
                    let names = list(here(path))?;
                    let fits = names.iter().filter(|name| pattern.matches_with(&name.to_string_lossy(), OPTIONS));
                    next.extend(fits.map(|name| path.join(name)));
                }
            }
            _ => next.extend(paths.iter().map(|path| path.join(part)).filter(|path| path.exists())),
        }
        paths = next;
    }
    Ok(paths.iter().map(|path| here(path).to_owned()).collect())
}

fn here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// Appends the folder and all folders below it, except hidden and linked ones.
fn add_folders(path: &Path, folders: &mut Vec<PathBuf>) -> Result<()> {
    if !here(path).is_dir() {
        return Ok(());
    }
    folders.push(path.to_owned());
    for name in list(here(path))? {
        let inner = path.join(&name);
        if !name.as_encoded_bytes().starts_with(b".") && !inner.is_symlink() {
            add_folders(&inner, folders)?;
        }
    }
    Ok(())
}

/// The names in a folder, in reading order (see [`sort`]).
pub(super) fn list(folder: &Path) -> Result<Vec<OsString>> {
    let failed = |e| Error::io("list the folder", folder, e);
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut names = entries.map(|entry| Ok(entry.map_err(failed)?.file_name())).collect::<Result<Vec<_>>>()?;
    sort(&mut names);
    Ok(names)
}

/// Sorts by name, but puts the files that logrotate renamed before the current one, oldest first: `syslog.2.gz`,
/// `syslog.1`, `syslog`. Without a `syslog` in the same folder such names are sorted as any other.
fn sort(names: &mut [OsString]) {
    let all: BTreeSet<OsString> = names.iter().cloned().collect();
    names.sort_by_cached_key(|name| {
        let rotated = name.to_str().and_then(rotation).filter(|(stem, _)| all.contains(&OsString::from(stem)));
        match rotated {
            Some((stem, number)) => (OsString::from(stem), Reverse(number), name.clone()),
            None => (name.clone(), Reverse(0), name.clone()),
        }
    });
}

/// `syslog.2.gz` -> (`syslog`, 3): the number plus one, because `syslog` itself has 0.
fn rotation(name: &str) -> Option<(&str, u64)> {
    let plain = [".gz", ".zst"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let (stem, number) = plain.rsplit_once('.')?;
    let digits = !number.is_empty() && number.len() <= 9 && number.bytes().all(|b| b.is_ascii_digit());
    Some((stem, number.parse::<u64>().ok().filter(|_| digits)? + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_start_at_any_folder() {
        assert_eq!(matches("**").unwrap()[0], Path::new("."));
        let manifest = Path::new("Cargo.toml");
        assert_eq!(matches("Cargo.t?ml").unwrap(), [manifest]);
        assert_eq!(matches("./src/../Cargo.to*").unwrap(), [Path::new("./src/../Cargo.toml")]);
        assert!(matches("Cargo.toml/*").unwrap().is_empty());
        assert!(matches("a**/b").unwrap_err().to_string().contains("not a valid pattern"));
    }
}
