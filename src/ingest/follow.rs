//! A file that grows, and is replaced or cut back by log rotation.

use super::line_splitter::{LineSplitter, RecordSender};
use crate::{Error, Result};
use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// How often a file that has nothing new is looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// Hands on the lines of the file for ever, or until they are no longer wanted.
///
/// Another file under its name (rotation by renaming) is read from its beginning when the old one has been read to its end;
/// a file that has become shorter (copytruncate) from its beginning, its unfinished last line forgotten. A file that is cut
/// back and has grown beyond its old length between two looks cannot be told from one that grew.
pub(super) fn follow(path: &Path, from_end: bool, mut lines: LineSplitter, out: &mut RecordSender) -> Result<()> {
    let mut file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let failed = |e| Error::io("read", path, e);
    let mut at = 0;
    if from_end {
        lines.learn(&file).map_err(failed)?;
        at = file.seek(SeekFrom::End(0)).map_err(failed)?;
    }
    let mut buffer = vec![0; 1 << 16];
    let mut told = false;
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
                // What was written between the last read and the rotation.
                while let n @ 1.. = file.read(&mut buffer).map_err(failed)? {
                    lines.push(&buffer[..n], out)?;
                }
                lines.end(out)?;
                tracing::info!("{}: the file was replaced, reading the new one", path.display());
                (file, at) = (new, 0);
            }
            _ if open.len() < at => {
                lines.forget();
                tracing::info!("{}: the file was cut back, reading it from its beginning", path.display());
                at = file.seek(SeekFrom::Start(0)).map_err(failed)?;
            }
            reopened => {
                // The name may be free for a moment between the old file and the new one.
                if let Err(error) = reopened
                    && error.kind() != std::io::ErrorKind::NotFound
                    && !std::mem::replace(&mut told, true)
                {
                    tracing::warn!("{}: cannot open it again: {error}; trying on", path.display());
                }
                std::thread::sleep(PAUSE);
            }
        }
    }
}

fn same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}
