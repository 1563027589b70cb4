//! Locks: what only one process may write at a time. The kernel releases them when a process ends for any reason.

use super::create::{Access, parent, set_access};
use super::unfinished::Unfinished;
use crate::{Error, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A lock that is held until it is dropped.
pub struct Lock {
    /// Its lock is released when it is closed.
    _file: File,
    path: PathBuf,
    /// Set where the file of the lock goes with it.
    temporary: Option<Unfinished>,
}

impl Lock {
    /// Takes the lock of the file at `path`, which is created if it is missing and stays; None where another process holds it.
    pub fn take(path: &Path) -> Result<Option<Self>> {
        let file = take(path, |e| Error::io("create", path, e))?;
        Ok(file.map(|file| Self { _file: file, path: path.to_owned(), temporary: None }))
    }

    /// Takes the lock of a folder that may not exist yet: the file `.NAME.lock` beside it, removed in the end. None where
    /// another process holds it.
    pub fn beside(target: &Path) -> Result<Option<Self>> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let folder = parent(target);
        let path = folder.join(format!(".{name}.lock"));
        let failed = |e| Error::failed(format!("{}: cannot create it in {}: {e}", target.display(), folder.display()));
        loop {
            let Some(file) = take(&path, failed)? else { return Ok(None) };
            // The process that held it before may have removed the file after it was opened here.
            let opened = file.metadata().map_err(failed)?;
            if opened.len() > 0 {
                return Err(foreign(&path, "a file with contents"));
            }
            if fs::symlink_metadata(&path).is_ok_and(|found| (found.dev(), found.ino()) == (opened.dev(), opened.ino()))
            {
                let temporary = Some(Unfinished::begin(path.clone()));
                return Ok(Some(Self { _file: file, path, temporary }));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.temporary.is_some() {
            // While the lock is still held, so that nobody else's file is removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn take(path: &Path, failed: impl Fn(io::Error) -> Error) -> Result<Option<File>> {
    let file = match open(path) {
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => return Err(foreign(path, "a symbolic link")),
        opened => opened.map_err(&failed)?,
    };
    if !file.metadata().map_err(&failed)?.is_file() {
        return Err(foreign(path, "something that is not a file"));
    }
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) if has_no_locks(&e) => {
            tracing::warn!(
                "{}: this file system has no locks ({e}); make sure that no other process writes here",
                parent(path).display()
            );
            Ok(Some(file))
        }
        Err(TryLockError::Error(e)) => Err(Error::io("lock", path, e)),
    }
}

/// Creates the file, or opens it as it is.
fn open(path: &Path) -> io::Result<File> {
    // A link could lead to any file, and opening a pipe could wait for ever. Nothing is truncated.
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    loop {
        match options.clone().create_new(true).open(path) {
            Ok(file) => return set_access(&file, path, Access::Private).map(|()| file),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => (),
            Err(e) => return Err(e),
        }
        // Its owner may have removed it by now.
        match options.open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => (),
            opened => return opened,
        }
    }
}

fn foreign(path: &Path, found: &str) -> Error {
    Error::failed(format!("{}: expected a lock file of logwright, found {found}; remove it", path.display()))
}

/// Some network file systems know no locks, or their lock service is off.
fn has_no_locks(error: &io::Error) -> bool {
    [libc::ENOSYS, libc::EOPNOTSUPP, libc::ENOLCK].iter().any(|code| error.raw_os_error() == Some(*code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_nothing_is_left() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("data");
        // A killed process leaves the file, but not its lock.
        fs::write(home.path().join(".data.lock"), "").unwrap();
        let held = Lock::beside(&target).unwrap().expect("nobody holds it");
        assert!(Lock::beside(&target).unwrap().is_none());
        drop(held);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
        assert!(Lock::beside(&target).unwrap().is_some());
        fs::write(home.path().join(".data.lock"), "mine").unwrap();
        assert!(Lock::beside(&target).is_err(), "a file with contents is somebody's, and would be removed");
    }

    #[test]
    fn a_link_is_refused_and_its_target_untouched() {
        let home = tempfile::tempdir().unwrap();
        let (victim, lock) = (home.path().join("victim"), home.path().join(".lock"));
        fs::write(&victim, "kept").unwrap();
        std::os::unix::fs::symlink(&victim, &lock).unwrap();
        let message = Lock::take(&lock).err().unwrap().to_string();
        assert!(message.contains("a symbolic link; remove it"), "{message}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
    }
}
