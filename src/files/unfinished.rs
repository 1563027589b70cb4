//! What this process has begun to write and not finished, so that a signal that ends the program can remove it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

static PATHS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn paths() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    // The set is whole even if a thread panicked while it held the lock.
    PATHS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A temporary file or folder; from its creation until this is dropped it is removed by [`discard`].
pub(super) struct Unfinished(PathBuf);

impl Unfinished {
    pub fn begin(path: PathBuf) -> Self {
        paths().insert(path.clone());
        Self(path)
    }

    /// Runs `rename`, which gives the thing its final name, and not while [`discard`] removes it.
    pub fn finish<T>(&self, rename: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let _held = paths();
        rename()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        paths().remove(&self.0);
    }
}

/// Removes everything unfinished. The program must end right after: nothing can be begun or finished any more.
pub fn discard() {
    let held = paths();
    for path in held.iter() {
        // Other threads may still be writing into a folder, which then is not empty at the first attempt.
        let gone = (0..10).any(|_| match path.symlink_metadata() {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).is_ok(),
            Ok(_) => fs::remove_file(path).is_ok(),
            Err(_) => true,
        });
        if !gone {
            tracing::warn!("{}: could not be removed; the next run removes it", path.display());
        }
    }
    std::mem::forget(held);
}
