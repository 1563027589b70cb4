//! Follows a file that grows and that log rotation replaces or truncates, as `tail -F` does, and loses nothing that is still
//! on the disk, however far the reader is behind.
//!
//! A file under the name is a [`Segment`]. A thread of its own looks at the name (`watcher`) and opens each new file as it
//! appears, so that it is held before rotation renames or removes it; the reader takes one segment after another. Where it
//! stopped is a [`Position`], which a state file keeps.
//!
//! When another file appears under the name (rotation by renaming), the old one is read to its end and the new one from its
//! beginning. When the file has become shorter (copytruncate), what was not read yet is read from the copy that rotation has
//! made. A file that was truncated and has grown beyond its old length between two looks (20 ms) looks like one that grew.

mod position;
mod resume;
mod rotated;
mod segment;
mod state;
mod watcher;

pub use position::Position;
pub use resume::Begin;
pub(super) use segment::{Reader, Segment};
pub use state::FollowState;

use crate::Result;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// The segments of a growing file, without an end.
pub(super) fn segments(path: &Path, begin: &Begin) -> Result<Receiver<Arc<Segment>>> {
    // Listed before the files are opened, so that a rotation in the meantime is noticed.
    let known = rotated::rotated(path).iter().map(rotated::Rotated::id).collect();
    Ok(watcher::watch(path, resume::first(path, begin)?, known))
}
