//! Files that are complete or absent.

use super::create::{Access, parent, set_access, sync, write_error};
use super::unfinished::Unfinished;
use crate::Result;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Writes a private file that is never visible half-written, even after a crash.
pub fn write_atomic(path: &Path, contents: &[u8]) -> Result<()> {
    let mut file = WholeFile::create(path, Access::Private)?;
    file.write(contents)?;
    file.publish()
}

/// A file that gets its name only when it is complete; if it is dropped unpublished, it is removed. Until then it is
/// `.NAME.partial-...` in the same folder, and locked: those without a lock were left by a kill, and the next one for the same
/// name removes them.
pub struct WholeFile {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
    unfinished: Unfinished,
}

impl WholeFile {
    pub fn create(path: &Path, access: Access) -> Result<Self> {
        let failed = |e| write_error(path, e);
        let (folder, name) = (parent(path), path.file_name().unwrap_or_default().to_string_lossy());
        let prefix = format!(".{name}.partial-");
        sweep(&folder, &prefix);
        let file = create_locked(&folder, &prefix, access).map_err(failed)?;
        let unfinished = Unfinished::begin(file.path().to_owned());
        set_access(file.as_file(), path, access).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file: BufWriter::with_capacity(1 << 18, file), unfinished })
    }

    pub fn write(&mut self, contents: &[u8]) -> Result<()> {
        self.file.write_all(contents).map_err(|e| write_error(&self.path, e))
    }

    /// Gives the file its name, and replaces another file of that name.
    pub fn publish(self) -> Result<()> {
        self.rename(|file, path| file.persist(path))
    }

    /// Gives the file its name; where that is taken, this is an error.
    pub fn publish_new(self) -> Result<()> {
        self.rename(|file, path| file.persist_noclobber(path))
    }

    fn rename(
        self,
        persist: impl FnOnce(NamedTempFile, &Path) -> std::result::Result<File, tempfile::PersistError>,
    ) -> Result<()> {
        let Self { path, file, unfinished } = self;
        let failed = |e| write_error(&path, e);
        let file = file.into_inner().map_err(|e| failed(e.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        unfinished.finish(|| persist(file, &path).map_err(|e| e.error)).map_err(failed)?;
        sync(&parent(&path))
    }
}

fn create_locked(folder: &Path, prefix: &str, access: Access) -> io::Result<NamedTempFile> {
    let mode = if access == Access::Shared { 0o666 } else { 0o600 };
    loop {
        let mut builder = tempfile::Builder::new();
        let file = builder.prefix(prefix).permissions(Permissions::from_mode(mode)).tempfile_in(folder)?;
        // Without locks (some network file systems) nothing sweeps the file, which is no reason not to write it.
        let _ = file.as_file().try_lock();
        // Before the lock was taken, another process may have swept the file.
        if file.as_file().metadata()?.nlink() > 0 {
            return Ok(file);
        }
    }
}

/// Removes the files of killed processes. A file of this prefix that can be locked has no process that writes it.
fn sweep(folder: &Path, prefix: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_file || !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        let path = entry.path();
        let open = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path);
        let abandoned = open.is_ok_and(|file| file.try_lock().is_ok() && fs::remove_file(&path).is_ok());
        if abandoned {
            tracing::info!("removed {}, which a killed run left behind", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::names;
    use super::*;

    #[test]
    fn what_a_kill_left_is_swept_and_what_is_being_written_is_not() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(".out.partial-dead"), "half").unwrap();
        fs::write(home.path().join(".other.partial-dead"), "half").unwrap();
        let first = WholeFile::create(&home.path().join("out"), Access::Private).unwrap();
        let second = WholeFile::create(&home.path().join("out"), Access::Private).unwrap();
        assert_eq!(names(home.path()).len(), 3, "two being written, one of another name");
        first.publish().unwrap();
        assert!(second.publish_new().is_err(), "the name is taken");
        assert_eq!(names(home.path()), [".other.partial-dead", "out"]);
    }

    #[test]
    fn only_what_is_shared_follows_the_umask() {
        let home = tempfile::tempdir().unwrap();
        let mode = |access| {
            let path = home.path().join("out");
            WholeFile::create(&path, access).unwrap().publish().unwrap();
            fs::metadata(path).unwrap().permissions().mode() & 0o777
        };
        // The umask of tests is not known, but it never takes the owner's bits away.
        assert_eq!([mode(Access::Secret), mode(Access::Private)], [0o600, 0o600]);
        assert_eq!(mode(Access::Shared) & 0o600, 0o600);
    }
}
