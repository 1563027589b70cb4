//! Looks at the name of a growing file, and opens each file that appears under it.

use super::position::{FileId, id};
use super::rotated::{Rotated, rotated};
use super::segment::{End, PAUSE, Segment, State};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// The segments of a file: those to begin with, then each new one as it appears. The last one to begin with has the name.
///
/// `known`: the rotated files that were there before those were opened.
pub(super) fn watch(path: &Path, first: Vec<Arc<Segment>>, known: HashSet<FileId>) -> Receiver<Arc<Segment>> {
    let (sender, segments) = channel();
    let current = first.last().expect("a file has the name").clone();
    first.into_iter().for_each(|segment| sender.send(segment).expect("the receiver is here"));
    let mut watcher = Watcher { path: path.to_owned(), known, current, sender, warned: false };
    std::thread::spawn(move || {
        while watcher.look() {
            std::thread::sleep(PAUSE);
        }
    });
    segments
}

struct Watcher {
    path: PathBuf,
    /// The rotated files that were there at the last rotation, and the file that has the name: others are new.
    known: HashSet<FileId>,
    /// The segment of the file that has the name, or had it last. It is held, so no new file gets its number.
    current: Arc<Segment>,
    sender: Sender<Arc<Segment>>,
    warned: bool,
}

impl Watcher {
    /// Looks once. Returns whether anybody still wants segments.
    fn look(&mut self) -> bool {
        match self.renew() {
            Ok(wanted) => return wanted,
            // A missing file is no error: rotation may leave the name free for a moment.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if !std::mem::replace(&mut self.warned, true) => {
                tracing::warn!("{}: cannot reopen the file: {error}; logwright keeps trying", self.path.display());
            }
            Err(_) => {}
        }
        true
    }

    fn renew(&mut self) -> io::Result<bool> {
        let held = self.current.state().id;
        if id(&fs::metadata(&self.path)?) != held {
            let new = File::open(&self.path)?;
            if id(&new.metadata()?) != held {
                return self.replaced(new, held);
            }
        }
        let whole = self.current.state().look()?;
        if whole { Ok(true) } else { self.truncated() }
    }

    /// Another file has the name. Files that had it between two looks, and have been renamed already, come before it.
    fn replaced(&mut self, new: File, held: FileId) -> io::Result<bool> {
        tracing::info!("{}: the file was replaced; the new one is read from its beginning", self.path.display());
        let present = id(&new.metadata()?);
        let all = rotated(&self.path);
        let mut segments = Vec::new();
        for file in all.iter().filter(|file| !self.known.contains(&file.id()) && ![held, present].contains(&file.id()))
        {
            if let Some(file) = file.open() {
                segments.push(Segment::new(Arc::new(file), 0)?);
            }
        }
        segments.push(Segment::new(Arc::new(new), 0)?);
        self.known = all.iter().map(Rotated::id).chain([held, present]).collect();
        Ok(segments.into_iter().all(|segment| self.next(segment)))
    }

    fn next(&mut self, segment: Arc<Segment>) -> bool {
        self.current.state().finish(End::Replaced);
        self.current = segment.clone();
        self.sender.send(segment).is_ok()
    }

    /// The current file has become shorter. What of it was not read is in the copy that copytruncate makes, or lost.
    fn truncated(&mut self) -> io::Result<bool> {
        tracing::info!("{}: the file was truncated; it is read from its beginning", self.path.display());
        let all = rotated(&self.path);
        let mut state = self.current.state();
        let Some(file) = state.file.clone() else { return Ok(true) };
        let copy = self.copy(&all, &state);
        state.truncate(copy);
        self.known = all.iter().map(Rotated::id).chain([state.id]).collect();
        drop(state);
        let segment = Segment::new(file, 0)?;
        Ok(self.next(segment))
    }

    /// The copy of the file as it was before, that rotation has just made.
    fn copy(&self, all: &[Rotated], before: &State) -> Option<File> {
        let new = all.iter().rev().filter(|file| !self.known.contains(&file.id()));
        let mut whole = new.filter(|file| file.meta.len() >= before.length).filter_map(Rotated::open);
        whole.find(|file| {
            let mut head = vec![0; before.head.len()];
            file.read_exact_at(&mut head, 0).is_ok() && head == before.head
        })
    }
}
