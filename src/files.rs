//! Files and folders that are complete or absent: they are written under a temporary name, synced, and renamed.

use crate::{Error, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The error for a failed write; for a full disk it names a remedy.
pub fn write_error(path: &Path, error: io::Error) -> Error {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let full = matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge);
    let remedy =
        if full { "; free some space or put --out on another disk (nothing half-written is left)" } else { "" };
    Error::failed(format!("cannot write {}: {error}{remedy}", path.display()))
}

/// The beginning of the names of unfinished files.
const PARTIAL: &str = ".partial-";

/// Writes a file that is never visible half-written, even after a crash.
pub fn write_atomic(path: &Path, contents: &[u8]) -> Result<()> {
    let mut file = WholeFile::create(path)?;
    file.write(contents)?;
    file.publish()
}

/// A file that gets its name only when it is complete; if it is dropped unpublished, it is removed.
pub struct WholeFile {
    path: PathBuf,
    file: io::BufWriter<tempfile::NamedTempFile>,
}

impl WholeFile {
    pub fn create(path: &Path) -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        // Temporary files are private by default, but results get the usual permissions, minus the process's umask.
        builder.prefix(PARTIAL).permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(parent(path)).map_err(|e| write_error(path, e))?;
        Ok(Self { path: path.to_owned(), file: io::BufWriter::with_capacity(1 << 18, file) })
    }

    pub fn write(&mut self, contents: &[u8]) -> Result<()> {
        self.file.write_all(contents).map_err(|e| write_error(&self.path, e))
    }

    pub fn publish(self) -> Result<()> {
        let failed = |e| write_error(&self.path, e);
        let file = self.file.into_inner().map_err(|e| failed(e.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&self.path).map_err(|e| failed(e.error))?;
        sync(&parent(&self.path))
    }
}

/// Replaces (or creates) the folder `path` with what `fill` writes into an empty one: see [`StagedFolder`].
pub fn replace_folder(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let staged = StagedFolder::create(path)?;
    fill(&staged.folder)?;
    staged.publish()
}

/// A folder that is filled as `.NAME.partial-PID` beside its final path `NAME`. A failure or kill at any moment leaves the
/// previous folder in place; if the staged folder is dropped unpublished, it is removed.
pub struct StagedFolder {
    pub folder: PathBuf,
    target: PathBuf,
}

impl StagedFolder {
    pub fn create(target: &Path) -> Result<Self> {
        let name = target
            .file_name()
            .ok_or_else(|| Error::usage(format!("{}: expected the name of a folder to create", target.display())))?;
        let prefix = format!(".{}.partial-", name.to_string_lossy());
        let parent = parent(target);
        let unwritable =
            |e| Error::failed(format!("{}: cannot create it in {}: {e}", target.display(), parent.display()));
        fs::create_dir_all(&parent).map_err(unwritable)?;
        recover(target);
        remove_abandoned(&parent, &prefix);
        let folder = parent.join(format!("{prefix}{}", std::process::id()));
        fs::create_dir(&folder).map_err(unwritable)?;
        Ok(Self { folder, target: target.to_owned() })
    }

    /// Syncs all files and gives the folder its final name. A previous folder is exchanged in one step if the file system
    /// supports it, else moved aside first; then it is removed.
    pub fn publish(self) -> Result<()> {
        for entry in fs::read_dir(&self.folder).map_err(|e| Error::io("list the folder", &self.folder, e))? {
            sync(&entry.map_err(|e| Error::io("list the folder", &self.folder, e))?.path())?;
        }
        sync(&self.folder)?;
        let target = &self.target;
        if target.exists() {
            // After the exchange, the old folder has the temporary name and is removed when `self` is dropped.
            let exchanged = renameat_with(CWD, &self.folder, CWD, target, RenameFlags::EXCHANGE);
            let replaced = exchanged.map_err(io::Error::from).or_else(|_| self.move_aside());
            replaced.map_err(|e| Error::io("replace", target, e))?;
        } else {
            fs::rename(&self.folder, target).map_err(|e| Error::io("make", target, e))?;
        }
        sync(&parent(target))
    }

    /// Replaces the target by two renames, and undoes the first if the second fails.
    fn move_aside(&self) -> io::Result<()> {
        let aside = aside(&self.target);
        fs::rename(&self.target, &aside)?;
        if let Err(error) = fs::rename(&self.folder, &self.target) {
            fs::rename(&aside, &self.target)?;
            return Err(error);
        }
        fs::remove_dir_all(&aside)
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        // A failure is ignored here, because the next run tries again.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes temporary files that a kill during [`write_atomic`] left. No other process may write to the folder.
pub fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The path of the previous folder while it is replaced in two steps.
fn aside(target: &Path) -> PathBuf {
    parent(target).join(format!(".{}.old", target.file_name().unwrap_or_default().to_string_lossy()))
}

/// Restores a folder that a kill left aside during a replacement in two steps. Call this before opening the folder.
pub fn recover(target: &Path) {
    let aside = aside(target);
    let _ = match target.exists() {
        false => fs::rename(&aside, target),
        true => fs::remove_dir_all(&aside),
    };
}

/// Removes the staged folders of killed processes: those whose names have this prefix and the number of a process that no
/// longer exists. One with the number of this process is also abandoned (containers assign the same numbers at every start).
fn remove_abandoned(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        let Some(pid) = file_name.to_str().and_then(|name| name.strip_prefix(prefix)) else { continue };
        let Ok(number) = pid.parse::<u32>() else { continue };
        let own = number == std::process::id();
        let gone = own || Path::new("/proc/self").exists() && !Path::new("/proc").join(pid).exists();
        if gone && fs::remove_dir_all(entry.path()).is_ok() {
            tracing::info!("removed {}, which a killed run left behind", entry.path().display());
        }
    }
}

fn parent(target: &Path) -> PathBuf {
    match target.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|e| Error::io("sync", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_replaced_whole() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("last");
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

    #[test]
    fn replacing_in_two_steps_leaves_only_the_new_folder() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("data");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("old"), "").unwrap();
        let staged = StagedFolder::create(&target).unwrap();
        fs::write(staged.folder.join("new"), "").unwrap();
        staged.move_aside().unwrap();
        drop(staged);
        assert_eq!(names(&target), ["new"]);
        assert_eq!(names(home.path()), ["data"]);
    }

    #[test]
    fn a_staging_folder_of_a_dead_process_is_removed() {
        let home = tempfile::tempdir().unwrap();
        // No process has the first number, because it exceeds the kernel's limit of 2^22.
        fs::create_dir(home.path().join(".data.partial-4194999")).unwrap();
        fs::create_dir(home.path().join(".data.partial-1")).unwrap();
        fs::create_dir(home.path().join(format!(".data.partial-{}", std::process::id()))).unwrap();
        drop(StagedFolder::create(&home.path().join("data")).unwrap());
        assert_eq!(names(home.path()), [".data.partial-1"], "the process of the second lives");
    }

    #[test]
    fn a_kill_between_the_two_steps_loses_nothing() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("last");
        fs::create_dir(home.path().join(".last.old")).unwrap();
        recover(&target);
        assert_eq!(names(home.path()), ["last"]);
    }
}
