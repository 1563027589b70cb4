//! Folders that are complete or absent.

use super::create::{create_folder, create_folders, open_folder, parent, sync};
use super::lock::Lock;
use super::unfinished::Unfinished;
use crate::{Error, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Replaces (or creates) the folder `path` with what `fill` writes into an empty one: see [`StagedFolder`]. The caller sees to
/// it that no other process writes there.
pub fn replace_folder(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let staged = StagedFolder::create(path)?;
    fill(&staged.folder)?;
    staged.publish()
}

/// A private folder that is filled as `.NAME.partial-PID` beside its final path `NAME`. A failure or kill at any moment leaves
/// the previous folder in place; if the staged folder is dropped unpublished, it is removed.
pub struct StagedFolder {
    pub folder: PathBuf,
    target: PathBuf,
    /// Which folder stood at the target when this one was begun.
    previous: Option<Identity>,
    unfinished: Unfinished,
    /// Released after the folder was removed.
    _lock: Option<Lock>,
}

impl StagedFolder {
    /// Like [`StagedFolder::create`], while no other process does the same for this target.
    pub fn create_alone(target: &Path) -> Result<Self> {
        let target = real(target)?;
        create_folders(&parent(&target))?;
        let Some(lock) = Lock::beside(&target)? else {
            return Err(Error::failed(format!(
                "{}: another process is writing this folder at the moment; wait for it, or choose another name",
                target.display()
            )));
        };
        let mut staged = Self::create(&target)?;
        staged._lock = Some(lock);
        Ok(staged)
    }

    /// No other process may stage a folder for this target: what such processes left is removed.
    pub fn create(target: &Path) -> Result<Self> {
        let target = real(target)?;
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!(".{name}.partial-");
        let parent = parent(&target);
        create_folders(&parent)?;
        recover(&target);
        remove_abandoned(&parent, &prefix);
        let folder = parent.join(format!("{prefix}{}", std::process::id()));
        create_folder(&folder).map_err(|e| unwritable(&target, e))?;
        let unfinished = Unfinished::begin(folder.clone());
        let previous = identity(&target);
        Ok(Self { folder, target, previous, unfinished, _lock: None })
    }

    /// Syncs all files and gives the folder its final name. A previous folder is exchanged in one step if the file system
    /// supports it, else moved aside first; then it is removed.
    ///
    /// Errors: something else stands at the target than when this folder was begun; it is left alone.
    pub fn publish(self) -> Result<()> {
        open_folder(&self.folder).map_err(|e| Error::io("set the permissions of", &self.folder, e))?;
        for entry in fs::read_dir(&self.folder).map_err(|e| Error::io("list the folder", &self.folder, e))? {
            sync(&entry.map_err(|e| Error::io("list the folder", &self.folder, e))?.path())?;
        }
        sync(&self.folder)?;
        self.unfinished.finish(|| self.rename()).map_err(|e| Error::io("replace", &self.target, e))?;
        sync(&parent(&self.target))
    }

    fn rename(&self) -> io::Result<()> {
        let (folder, target) = (&self.folder, &self.target);
        let Some(previous) = self.previous else {
            return match renameat_with(CWD, folder, CWD, target, RenameFlags::NOREPLACE).map_err(io::Error::from) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(changed()),
                Err(_) if target.symlink_metadata().is_ok() => Err(changed()),
                // Some file systems do not support the flag.
                Err(_) => fs::rename(folder, target),
                Ok(()) => Ok(()),
            };
        };
        if identity(target) != Some(previous) {
            return Err(changed());
        }
        let exchange = || renameat_with(CWD, folder, CWD, target, RenameFlags::EXCHANGE).map_err(io::Error::from);
        exchange().or_else(|_| self.move_aside())?;
        // After the exchange, the old folder has the temporary name and is removed when `self` is dropped.
        match identity(folder).is_some_and(|replaced| replaced != previous) {
            true => exchange().and(Err(changed())),
            false => Ok(()),
        }
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

/// Device and number of a folder: another one of the same name differs.
type Identity = (u64, u64);

fn identity(path: &Path) -> Option<Identity> {
    path.symlink_metadata().ok().map(|meta| (meta.dev(), meta.ino()))
}

fn changed() -> io::Error {
    io::Error::other("somebody else created or replaced it in the meantime; it is left alone, and nothing was written")
}

fn unwritable(target: &Path, error: io::Error) -> Error {
    Error::failed(format!("{}: cannot create it in {}: {error}", target.display(), parent(target).display()))
}

/// The target itself: the folder that a link leads to is replaced, not the link.
fn real(target: &Path) -> Result<PathBuf> {
    let refused =
        |what| Err(Error::usage(format!("{}: expected the name of a folder to create{what}", target.display())));
    match target.symlink_metadata() {
        _ if target.file_name().is_none() => refused(""),
        Ok(meta) if meta.is_symlink() => match target.canonicalize() {
            Ok(real) => Ok(real),
            Err(_) => refused(", found a link to nothing; remove it"),
        },
        _ => Ok(target.to_owned()),
    }
}

/// The path of the previous folder while it is replaced in two steps.
fn aside(target: &Path) -> PathBuf {
    parent(target).join(format!(".{}.partial-old", target.file_name().unwrap_or_default().to_string_lossy()))
}

/// Restores a folder that a kill left aside during a replacement in two steps. Call this before opening the folder.
pub fn recover(target: &Path) {
    let aside = aside(target);
    let _ = match target.exists() {
        false => fs::rename(&aside, target),
        true => fs::remove_dir_all(&aside),
    };
}

/// Removes the staged folders of killed processes: no living one stages a folder of this prefix.
fn remove_abandoned(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        let number = file_name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse::<u32>().ok());
        if number.is_some() && fs::remove_dir_all(entry.path()).is_ok() {
            tracing::info!("removed {}, which a killed run left behind", entry.path().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{names, write_atomic};
    use super::*;

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
        // Containers give the same numbers to other processes: the lock says that nobody writes there, not the number.
        for name in
            [".data.partial-1".to_string(), format!(".data.partial-{}", std::process::id()), ".data.mine".into()]
        {
            fs::create_dir(home.path().join(name)).unwrap();
        }
        let staged = StagedFolder::create_alone(&home.path().join("data")).unwrap();
        assert!(StagedFolder::create_alone(&home.path().join("data")).is_err(), "one at a time");
        drop(staged);
        assert_eq!(names(home.path()), [".data.mine"]);
    }

    #[test]
    fn what_appeared_in_the_meantime_is_not_replaced() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("data");
        for had in [false, true] {
            if had {
                fs::create_dir(&target).unwrap();
            }
            let staged = StagedFolder::create(&target).unwrap();
            let _ = fs::rename(&target, home.path().join("moved"));
            fs::create_dir(&target).unwrap();
            let message = staged.publish().unwrap_err().to_string();
            assert!(message.contains("in the meantime"), "{message}");
            assert!(names(&target).is_empty());
            fs::remove_dir(&target).unwrap();
        }
        assert_eq!(names(home.path()), ["moved"]);
    }

    #[test]
    fn what_a_link_leads_to_is_replaced_and_the_link_stays() {
        let home = tempfile::tempdir().unwrap();
        let (disk, link) = (home.path().join("disk"), home.path().join("data"));
        fs::create_dir(&disk).unwrap();
        std::os::unix::fs::symlink("disk", &link).unwrap();
        replace_folder(&link, |folder| write_atomic(&folder.join("new"), b"1")).unwrap();
        assert_eq!(names(&disk), ["new"]);
        assert!(link.is_symlink());
        fs::remove_dir_all(&disk).unwrap();
        assert!(StagedFolder::create(&link).err().unwrap().to_string().contains("a link to nothing"));
    }

    #[test]
    fn a_kill_between_the_two_steps_loses_nothing() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("last");
        fs::create_dir(home.path().join(".last.partial-old")).unwrap();
        recover(&target);
        assert_eq!(names(home.path()), ["last"]);
    }
}
