//! Follows a file that grows and that log rotation replaces or truncates, as `tail -F` does.

use super::line_splitter::{LineSplitter, RecordSender};
use crate::{Error, Result};
use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// How long to wait before a file without new data is read again.
const PAUSE: Duration = Duration::from_millis(50);

/// Sends the lines of the file until the receiver is gone.
///
/// When another file appears under the name (rotation by renaming), the old one is read to its end and the new one from its
/// beginning. When the file has become shorter (copytruncate), it is read from its beginning and its unfinished last line
/// is discarded. A file that was truncated and has already grown beyond its old length looks like one that grew.
pub(super) fn follow(path: &Path, from_end: bool, mut lines: LineSplitter, out: &mut RecordSender) -> Result<()> {
    let mut file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let failed = |e| Error::io("read", path, e);
    let mut at = 0;
    if from_end {
        lines.learn(&file).map_err(failed)?;
        at = file.seek(SeekFrom::End(0)).map_err(failed)?;
    }
    let mut buffer = vec![0; 1 << 16];
    let mut warned = false;
    loop {
        let n = file.read(&mut buffer).map_err(failed)?;
        if n > 0 {
            at += n as u64;
            lines.push(&buffer[..n], out)?;
            continue;
        }
        let open = file.metadata().map_err(failed)?;
        match File::open(path) {
            Ok(new) if !same(&open, &new.metadata().map_err(failed)?) => {
                // Reads what was written between the last read and the rotation.
                while let n @ 1.. = file.read(&mut buffer).map_err(failed)? {
                    lines.push(&buffer[..n], out)?;
                }
                lines.end(out)?;
                tracing::info!("{}: the file was replaced; the new one is read from its beginning", path.display());
                (file, at) = (new, 0);
            }
            _ if open.len() < at => {
                lines.forget();
                tracing::info!("{}: the file was truncated; it is read from its beginning", path.display());
                at = file.seek(SeekFrom::Start(0)).map_err(failed)?;
            }
            reopened => {
                // A missing file is no error: rotation may leave the name free for a moment.
                if let Err(error) = reopened
                    && error.kind() != std::io::ErrorKind::NotFound
                    && !std::mem::replace(&mut warned, true)
                {
                    tracing::warn!("{}: cannot reopen the file: {error}; logwright keeps trying", path.display());
                }
                std::thread::sleep(PAUSE);
            }
        }
    }
}

fn same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}
