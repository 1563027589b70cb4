//! A folder under construction, beside its final place: it appears under its name complete, or not at all.

use crate::{Error, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The message for a failed write; a full disk gets its remedy.
pub(super) fn write_error(path: &Path, error: io::Error) -> Error {
    let full =
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge);
    let remedy = if full { "; free some space or put --out on another disk (nothing was left behind)" } else { "" };
    Error::failed(format!("cannot write {}: {error}{remedy}", path.display()))
}

/// `.NAME.partial-PID` beside `NAME`; removed when dropped unfinished.
pub(super) struct Staging {
    pub folder: PathBuf,
    target: PathBuf,
}

impl Staging {
    /// Refuses a target that exists, unless `overwrite` is set and it is a data folder (or empty).
    pub fn create(target: &Path, overwrite: bool) -> Result<Self> {
        check_target(target, overwrite)?;
        let name = target.file_name().ok_or_else(|| {
            Error::usage(format!("--out {}: expected the name of a folder to make", target.display()))
        })?;
        let parent = parent(target);
        let unwritable =
            |e| Error::failed(format!("--out {}: cannot make a folder in {}: {e}", target.display(), parent.display()));
        fs::create_dir_all(&parent).map_err(unwritable)?;
        remove_abandoned(&parent, name);
        let folder = parent.join(partial_name(name, &std::process::id().to_string()));
        fs::create_dir(&folder).map_err(unwritable)?;
        Ok(Self { folder, target: target.to_owned() })
    }

    /// Syncs all files and gives the folder its name. An old one is exchanged in one step where the file system can, else
    /// moved aside first; then it is removed.
    pub fn publish(self) -> Result<()> {
        for entry in fs::read_dir(&self.folder).map_err(|e| Error::io("list the folder", &self.folder, e))? {
            sync(&entry.map_err(|e| Error::io("list the folder", &self.folder, e))?.path())?;
        }
        sync(&self.folder)?;
        let target = &self.target;
        if target.exists() {
            // Afterwards the old folder has the staging name, and is removed when `self` is dropped.
            let exchanged = renameat_with(CWD, &self.folder, CWD, target, RenameFlags::EXCHANGE);
            exchanged
                .map_err(io::Error::from)
                .or_else(|_| self.move_aside())
                .map_err(|e| Error::io("replace", target, e))?;
        } else {
            fs::rename(&self.folder, target).map_err(|e| Error::io("make", target, e))?;
        }
        sync(&parent(target))
    }

    /// Replaces the target in two renames, and puts the old one back if the second fails.
    fn move_aside(&self) -> io::Result<()> {
        let aside = self.folder.with_extension("old");
        fs::rename(&self.target, &aside)?;
        if let Err(error) = fs::rename(&self.folder, &self.target) {
            fs::rename(&aside, &self.target)?;
            return Err(error);
        }
        fs::remove_dir_all(&aside)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Nothing to be done about a failure here; the next prepare tries again.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn partial_name(name: &OsStr, pid: &str) -> String {
    format!(".{}.partial-{pid}", name.to_string_lossy())
}

fn parent(target: &Path) -> PathBuf {
    match target.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn sync(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| Error::io("sync", folder, e))
}

fn check_target(target: &Path, overwrite: bool) -> Result<()> {
    let empty = fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none());
    if !target.exists() || empty {
        return Ok(());
    }
    if !overwrite {
        return Err(Error::usage(format!(
            "--out {}: it exists already; choose another name, or replace it with --overwrite",
            target.display()
        )));
    }
    if !target.join("meta.json").is_file() {
        return Err(Error::usage(format!(
            "--out {}: it is no data folder (it has no meta.json), so --overwrite leaves it alone; choose another name",
            target.display()
        )));
    }
    Ok(())
}

/// Removes what a killed prepare of the same target left: a staging folder whose process is gone.
fn remove_abandoned(parent: &Path, name: &OsStr) {
    let start = partial_name(name, "");
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        let Some(pid) = file_name.to_str().and_then(|n| n.strip_prefix(&start)) else { continue };
        let gone =
            pid.parse::<u32>().is_ok() && Path::new("/proc/self").exists() && !Path::new("/proc").join(pid).exists();
        if gone && fs::remove_dir_all(entry.path()).is_ok() {
            tracing::info!("removed {}, left by a prepare that was killed", entry.path().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_in_two_steps_leaves_only_the_new_folder() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("data");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("meta.json"), "old").unwrap();
        let staging = Staging::create(&target, true).unwrap();
        fs::write(staging.folder.join("meta.json"), "new").unwrap();
        staging.move_aside().unwrap();
        drop(staging);
        assert_eq!(fs::read_to_string(target.join("meta.json")).unwrap(), "new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_staging_folder_of_a_dead_process_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        // No process has this number: it is above the kernel's limit of 2^22.
        fs::create_dir(dir.path().join(".data.partial-4194999")).unwrap();
        fs::create_dir(dir.path().join(".data.partial-1")).unwrap();
        drop(Staging::create(&dir.path().join("data"), false).unwrap());
        assert!(!dir.path().join(".data.partial-4194999").exists());
        assert!(dir.path().join(".data.partial-1").exists(), "its process lives");
    }
}
