//! The file of the records of a part, each with a newline.

use super::part_file::{AGAIN, Spool};
use crate::files::{create_new, write_error};
use crate::{Error, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

pub(super) const FILE: &str = "records.spool";
const BUFFER: usize = 1 << 20;

pub(super) struct SpoolWriter {
    path: PathBuf,
    file: BufWriter<File>,
    crc: crc32fast::Hasher,
    written: Spool,
}

impl SpoolWriter {
    pub fn create(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let file = BufWriter::with_capacity(BUFFER, create_new(&path)?);
        Ok(Self { path, file, crc: crc32fast::Hasher::new(), written: Spool { count: 0, bytes: 0, crc32: 0 } })
    }

    pub fn push(&mut self, record: &[u8]) -> Result<()> {
        for bytes in [record, b"\n"] {
            self.crc.update(bytes);
            self.file.write_all(bytes).map_err(|e| write_error(&self.path, e))?;
        }
        self.written.count += 1;
        self.written.bytes += record.len() as u64 + 1;
        Ok(())
    }

    pub fn finish(self) -> Result<Spool> {
        let failed = |e| write_error(&self.path, e);
        let file = self.file.into_inner().map_err(|e| failed(e.into_error()))?;
        file.sync_all().map_err(failed)?;
        Ok(Spool { crc32: self.crc.finalize(), ..self.written })
    }
}

/// Passes the records of a part to `sink`.
///
/// Errors: a file that is not as it was written; those of `sink`.
pub(super) fn read(folder: &Path, written: Spool, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let path = folder.join(FILE);
    let failed = |e| Error::unreadable(&path, e, AGAIN);
    let refused = |fault: String| Err(Error::failed(format!("{}: {fault}; {AGAIN}", path.display())));
    let file = File::open(&path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if length != written.bytes {
        return refused(format!("expected {} bytes, found {length}", written.bytes));
    }
    let mut reader = BufReader::with_capacity(BUFFER, file);
    let (mut line, mut crc, mut count) = (Vec::new(), crc32fast::Hasher::new(), 0);
    while reader.read_until(b'\n', &mut line).map_err(failed)? > 0 {
        crc.update(&line);
        count += 1;
        sink(line.strip_suffix(b"\n").unwrap_or(&line))?;
        line.clear();
    }
    let found = crc.finalize();
    if (found, count) != (written.crc32, written.count) {
        return refused(format!("checksum mismatch: expected {:08x}, found {found:08x}", written.crc32));
    }
    Ok(())
}
