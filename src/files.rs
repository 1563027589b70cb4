//! Files and folders that are whole or absent: written aside, synced, renamed.

use crate::{Error, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Writes a file that is never seen half-written, even through a crash.
pub fn write_atomic(path: &Path, contents: &[u8]) -> Result<()> {
    let failed = |e| Error::io("write", path, e);
    let folder = parent(path);
    let mut file = builder(".partial-", 0o666).tempfile_in(folder).map_err(failed)?;
    file.write_all(contents).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    sync(folder)
}

/// Replaces (or creates) the folder `path` with what `fill` writes into an empty one. A kill or failure at any moment leaves
/// the previous folder whole; what it leaves behind beside it, `.NAME.partial-…`, goes at the next replacement.
pub fn replace_folder(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let prefix = format!(".{}.partial-", path.file_name().expect("a folder has a name").to_string_lossy());
    let beside = parent(path);
    fs::create_dir_all(beside).map_err(|e| Error::io("create", beside, e))?;
    remove_leftovers(beside, &prefix)?;
    let failed = |e| Error::io("write", path, e);
    let staging = builder(&prefix, 0o777).tempdir_in(beside).map_err(failed)?;
    fill(staging.path())?;
    for entry in fs::read_dir(staging.path()).map_err(failed)? {
        File::open(entry.map_err(failed)?.path()).and_then(|file| file.sync_all()).map_err(failed)?;
    }
    sync(staging.path())?;
    exchange(staging.path(), path).map_err(failed)?;
    // After an exchange the staging path holds the previous folder; dropping `staging` removes it.
    sync(beside)
}

/// Puts `new` under the name `path`; if `path` exists, it takes the name of `new` in the same atomic step.
fn exchange(new: &Path, path: &Path) -> std::io::Result<()> {
    if !path.exists() {
        return fs::rename(new, path);
    }
    match renameat_with(CWD, new, CWD, path, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        // Some network file systems cannot exchange names; there, a kill between the two renames leaves the previous
        // folder under its `.old` name.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            let old = path.with_extension("old");
            fs::rename(path, &old)?;
            fs::rename(new, path)?;
            fs::remove_dir_all(old)
        }
        Err(other) => Err(other.into()),
    }
}

fn remove_leftovers(folder: &Path, prefix: &str) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|e| Error::io("read", folder, e))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            fs::remove_dir_all(entry.path()).map_err(|e| Error::io("remove", &entry.path(), e))?;
        }
    }
    Ok(())
}

/// Temporary files are private by default; results have the usual permissions, less the process's mask.
fn builder(prefix: &str, mode: u32) -> tempfile::Builder<'_, '_> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    builder
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| Error::io("sync", folder, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_replaced_whole() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("last");
        fs::create_dir(home.path().join(".last.partial-killed")).unwrap();
        for text in ["first", "second"] {
            replace_folder(&target, |folder| write_atomic(&folder.join(text), text.as_bytes())).unwrap();
            assert_eq!(names(&target), [text]);
            assert_eq!(names(home.path()), ["last"]);
        }
    }

    #[test]
    fn a_failure_leaves_the_previous_folder_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("last");
        replace_folder(&target, |folder| write_atomic(&folder.join("good"), b"1")).unwrap();
        let failure = replace_folder(&target, |folder| {
            write_atomic(&folder.join("bad"), b"2")?;
            Err(Error::failed("no"))
        });
        assert!(failure.is_err());
        assert_eq!(names(&target), ["good"]);
        assert_eq!(names(home.path()), ["last"]);
    }
}
