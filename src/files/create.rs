//! How files and folders are created: who may read them, and never through a link that stands in their place.

use crate::{Error, Result};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Its owner alone, whatever [`set_mode`] says: a key.
    Secret,
    /// Its owner alone, unless [`set_mode`] names others: whatever holds contents of logs. The umask changes nothing.
    Private,
    /// Those whom the umask allows: what is written to be passed on.
    Shared,
}

/// The mode of private files.
static MODE: AtomicU32 = AtomicU32::new(0o600);

/// Sets the mode of all private files from here on; folders can be entered by those who may read files.
pub fn set_mode(mode: u32) {
    MODE.store(mode, Ordering::Relaxed);
}

fn folder_mode() -> u32 {
    let mode = MODE.load(Ordering::Relaxed);
    mode | (mode & 0o444) >> 2
}

/// The error for a failed write; for a full disk or a folder of somebody else it names a remedy.
pub fn write_error(path: &Path, error: io::Error) -> Error {
    use io::ErrorKind::{FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let remedy = match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => {
            "; free some space or put --out on another disk (nothing half-written is left)"
        }
        PermissionDenied | ReadOnlyFilesystem => "; choose a folder in which you may write",
        _ => "",
    };
    Error::failed(format!("cannot write {}: {error}{remedy}", path.display()))
}

/// Gives a file that was just created with mode 0600 its final mode.
pub(super) fn set_access(file: &File, path: &Path, access: Access) -> io::Result<()> {
    let mode = match access {
        Access::Shared => return Ok(()),
        Access::Secret => 0o600,
        Access::Private => MODE.load(Ordering::Relaxed),
    };
    // The umask may have taken bits away even from 0600.
    file.set_permissions(Permissions::from_mode(mode)).or_else(|error| tolerate(error, path))
}

/// File systems such as FAT have the same permissions for everything, and refuse others.
fn tolerate(error: io::Error, path: &Path) -> io::Result<()> {
    static TOLD: Once = Once::new();
    if !matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) {
        return Err(error);
    }
    TOLD.call_once(|| {
        tracing::warn!(
            "{}: this file system keeps no permissions ({error}); others may be able to read it",
            path.display()
        );
    });
    Ok(())
}

/// Creates a private file for reading and writing; something of this name, even a link to nothing, is an error.
pub fn create_new(path: &Path) -> Result<File> {
    let open = || {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        set_access(&file, path, Access::Private)?;
        Ok(file)
    };
    open().map_err(|e| write_error(path, e))
}

/// Creates a private file with these contents in a folder that is not visible yet.
pub fn write_new(path: &Path, contents: &[u8]) -> Result<()> {
    create_new(path)?.write_all(contents).map_err(|e| write_error(path, e))
}

/// Opens a file of this program to append to it. A link in its place is not followed.
pub fn append(path: &Path) -> Result<File> {
    let open = OpenOptions::new().append(true).custom_flags(libc::O_NOFOLLOW).open(path);
    open.map_err(|e| write_error(path, e))
}

/// A file without a name in `folder`: nobody else can open it, and it is gone when the program ends for any reason.
pub fn temporary(folder: &Path) -> Result<File> {
    tempfile::tempfile_in(folder).map_err(|e| write_error(folder, e))
}

/// Creates a private folder and the parents that it lacks; one that exists stays as it is.
pub fn create_folders(path: &Path) -> Result<()> {
    missing_folders(path).map_err(|e| Error::io("create", path, e))
}

fn missing_folders(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    missing_folders(&parent(path))?;
    match create_folder(path).and_then(|()| open_folder(path)) {
        // Another process was faster, or something else has this name.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(io::ErrorKind::NotADirectory.into()),
        made => made,
    }
}

/// Creates a folder for its owner alone.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700)).or_else(|error| tolerate(error, path))
}

/// Lets those into a new folder who may read what is in it.
pub(super) fn open_folder(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(folder_mode())).or_else(|error| tolerate(error, path))
}

/// Says so where a folder exists and this user may not read it: what is in it would seem to be missing.
pub fn check_readable(folder: &Path) -> Result<()> {
    // Listing takes the permission to read, and reaching what is inside that to enter.
    let reached = fs::read_dir(folder).and_then(|_| fs::metadata(folder.join(".")));
    match reached {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Err(Error::io("read the folder", folder, e)),
        _ => Ok(()),
    }
}

pub(super) fn parent(target: &Path) -> PathBuf {
    match target.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

pub(super) fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|e| Error::io("sync", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_private_is_for_its_owner() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/b");
        create_folders(&folder).unwrap();
        write_new(&folder.join("file"), b"x").unwrap();
        assert_eq!([mode(&home.path().join("a")), mode(&folder), mode(&folder.join("file"))], [0o700, 0o700, 0o600]);
    }

    #[test]
    fn a_link_is_neither_followed_nor_emptied() {
        let home = tempfile::tempdir().unwrap();
        let (victim, link) = (home.path().join("victim"), home.path().join("link"));
        fs::write(&victim, "kept").unwrap();
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        assert!(create_new(&link).is_err() && append(&link).is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
    }
}
