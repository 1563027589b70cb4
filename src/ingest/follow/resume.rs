//! The files in which reading begins.

use super::position::Position;
use super::rotated::rotated;
use super::segment::{End, Segment};
use crate::{Error, Result};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Where to begin in a growing file.
#[derive(Clone, Debug, PartialEq)]
pub enum Begin {
    Start,
    End,
    /// Behind what an earlier run has read.
    Behind(Position),
}

/// The files to begin with, in their order; the last one has the name.
pub(super) fn first(path: &Path, begin: &Begin) -> Result<Vec<Arc<Segment>>> {
    let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let failed = |e| Error::io("read", path, e);
    let at = match begin {
        Begin::Start => 0,
        Begin::End => file.metadata().map_err(failed)?.len(),
        Begin::Behind(position) => return resume(path, file, position),
    };
    Ok(vec![Segment::new(Arc::new(file), at).map_err(failed)?])
}

/// The files to read behind `position`: the one that it is in, those that had the name after it, and `present`, which has the
/// name. Where that file is gone, reading begins with the present file, and a warning says so.
fn resume(path: &Path, present: File, position: &Position) -> Result<Vec<Arc<Segment>>> {
    let failed = |e| Error::io("read", path, e);
    let segment = |file, at| Segment::new(Arc::new(file), at).map_err(failed);
    if position.names(&present) && position.is_in(&present) {
        return Ok(vec![segment(present, position.offset)?]);
    }
    let mut old: Vec<File> = rotated(path).iter().filter_map(|file| file.open()).collect();
    // A copy (copytruncate) has another number than the file that was read.
    let fits = |file: &File| position.is_in(file);
    let found = old.iter().rposition(|file| position.names(file) && fits(file)).or_else(|| old.iter().rposition(fits));
    let Some(found) = found.filter(|_| position.head_bytes > 0) else {
        tracing::warn!(
            "{}: the file that the state names is gone (removed, compressed or truncated), so what it held behind byte {} is \
             not read; the present file is read from its beginning",
            path.display(),
            position.offset
        );
        return Ok(vec![segment(present, 0)?]);
    };
    let later = old.split_off(found + 1);
    let first = segment(old.pop().expect("it was found"), position.offset)?;
    let mut segments = vec![first];
    for file in later {
        segments.push(segment(file, 0)?);
    }
    segments.iter().for_each(|segment| segment.state().finish(End::Replaced));
    segments.push(segment(present, 0)?);
    tracing::info!("{}: the file was rotated; reading resumes in the old one", path.display());
    Ok(segments)
}
