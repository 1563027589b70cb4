//! Patterns such as `logs/**/*.gz` -> the paths they match, whatever bytes the names hold.

use super::inputs::list;
use crate::{Error, Result};
use glob::{MatchOptions, Pattern};
use std::path::{Component, Path, PathBuf};

const MARKS: [char; 3] = ['*', '?', '['];

/// A leading dot is matched only by a dot.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(MARKS)
}

/// The paths that match, in the order of a folder's list; bytes that are not UTF-8 match `?`.
///
/// Errors: a pattern that is none, a folder that cannot be listed.
pub(super) fn matches(text: &str) -> Result<Vec<PathBuf>> {
    let mut paths = vec![PathBuf::new()];
    // Behind the last `/`, "all folders" and "all in this folder" are the same files.
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

/// The folder and all under it, hidden and linked ones left out.
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
