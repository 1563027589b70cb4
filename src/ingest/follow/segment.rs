//! One file of a growing log: its open handle, how far it was read, and how it ended.

use super::position::{FileId, HEAD, Position, id};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long to wait before a file without new data is read again.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// How long nothing may come before a read says so.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a replaced file is still read: its writer learns of the rotation only after the new file is there.
const GRACE: Duration = Duration::from_millis(100);

/// Why nothing more comes from a segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    /// Another file has the name.
    Replaced,
    /// The file was cut; what is written from then on is the next segment.
    Truncated,
}

/// A file, or what a file held before it was truncated.
pub(in crate::ingest) struct Segment(Mutex<State>);

pub(super) struct State {
    /// Holds the bytes. `None` where they are gone: the file was truncated and has no copy.
    pub file: Option<Arc<File>>,
    pub id: FileId,
    /// The length at the last look: a file that is shorter was truncated.
    pub length: u64,
    /// The offset up to which it was read.
    pub at: u64,
    /// The first bytes, at most [`HEAD`].
    pub head: Vec<u8>,
    end: Option<(End, Instant)>,
    /// The number of bytes that were there and can no longer be read.
    lost: u64,
}

impl Segment {
    /// A segment that is read from offset `at`.
    pub fn new(file: Arc<File>, at: u64) -> io::Result<Arc<Self>> {
        let id = id(&file.metadata()?);
        let mut state = State { file: Some(file), id, length: 0, at, head: Vec::new(), end: None, lost: 0 };
        state.look()?;
        Ok(Arc::new(Segment(Mutex::new(state))))
    }

    /// The position of an offset that was read already.
    pub fn position(&self, offset: u64) -> Position {
        let state = self.state();
        Position::new(state.id, offset, &state.head)
    }

    /// The number of bytes that were there and can no longer be read.
    pub fn lost(&self) -> u64 {
        self.state().lost
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no thread panics while it holds the lock")
    }
}

impl State {
    /// Whether the file is as long as at the last look, or longer.
    pub fn look(&mut self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let length = file.metadata()?.len();
        if length < self.length {
            return Ok(false);
        }
        self.length = length;
        let known = self.head.len();
        if known < HEAD && length > known as u64 {
            let mut more = vec![0; (HEAD - known).min((length - known as u64) as usize)];
            file.read_exact_at(&mut more, known as u64)?;
            self.head.extend_from_slice(&more);
        }
        Ok(true)
    }

    pub fn finish(&mut self, end: End) {
        self.end.get_or_insert((end, Instant::now()));
    }

    /// The file was truncated; `copy` holds what it held before.
    pub fn truncate(&mut self, copy: Option<File>) {
        self.lost = if copy.is_some() { 0 } else { self.length.saturating_sub(self.at) };
        self.file = copy.map(Arc::new);
        self.finish(End::Truncated);
    }

    /// Reads what is there. `None`: nothing yet.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if !self.look()? {
            // The watcher cares for the file that has the name. Nobody does for one that lost it and was truncated then.
            if self.end.is_some() && self.file.is_some() {
                self.truncate(None);
            }
            return Ok(self.end.map(|_| 0));
        }
        let Some(file) = &self.file else { return Ok(Some(0)) };
        let n = file.read_at(buffer, self.at)?;
        self.at += n as u64;
        let ended = self.end.is_some_and(|(end, since)| end == End::Truncated || since.elapsed() > GRACE);
        Ok((n > 0 || ended).then_some(n))
    }
}

/// Reads a segment, and waits for more at the end of a file that is not replaced yet.
pub(in crate::ingest) struct Reader(Arc<Segment>);

impl Reader {
    pub fn new(segment: Arc<Segment>) -> Self {
        Reader(segment)
    }

    pub fn at(&self) -> u64 {
        self.0.state().at
    }

    /// Reads the file from its beginning, up to where this reader is.
    pub fn beginning(&self) -> impl Read + use<> {
        let state = self.0.state();
        Beginning { file: state.file.clone(), at: 0 }.take(state.at)
    }
}

impl Read for Reader {
    /// Errors: `WouldBlock` if nothing came for a while; reading can go on.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begin = Instant::now();
        loop {
            let read = self.0.state().read(buffer);
            match read {
                Ok(Some(n)) => return Ok(n),
                Ok(None) if begin.elapsed() > PATIENCE => return Err(ErrorKind::WouldBlock.into()),
                Ok(None) => std::thread::sleep(PAUSE),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A file from its beginning, whatever others read of it.
struct Beginning {
    file: Option<Arc<File>>,
    at: u64,
}

impl Read for Beginning {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(file) = &self.file else { return Ok(0) };
        let n = file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}
