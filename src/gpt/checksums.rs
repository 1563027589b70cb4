//! `checksums.json` of a model folder: file name -> CRC-32 of the whole file. safetensors itself notices a file cut short, but
//! not a flipped bit.

use crate::files::write_atomic;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

pub const NAME: &str = "checksums.json";

/// The number of bytes that are read at a time.
const PIECE: usize = 1 << 18;

fn load(folder: &Path) -> Result<BTreeMap<String, String>> {
    let path = folder.join(NAME);
    match fs::read(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(e) => Err(Error::io("read", &path, e)),
        Ok(text) => serde_json::from_slice(&text).map_err(|e| {
            Error::failed(format!(
                "{}: expected the checksums of the files beside it: {e}; the file is damaged; use another checkpoint",
                path.display()
            ))
        }),
    }
}

/// Folder and file name of a file in a model folder.
fn split(path: &Path) -> (&Path, String) {
    let name = path.file_name().expect("a file of a model folder").to_string_lossy();
    (path.parent().expect("a file of a model folder"), name.into_owned())
}

/// Adds the checksum of the file `path` to those of its folder.
pub fn record(path: &Path, checksum: u32) -> Result<()> {
    let (folder, name) = split(path);
    let mut sums = load(folder)?;
    sums.insert(name, format!("{checksum:08x}"));
    let text = serde_json::to_string_pretty(&sums).expect("strings serialise") + "\n";
    write_atomic(&folder.join(NAME), text.as_bytes())
}

/// Reads all of `file`, which is the one at `path`, and compares it with its checksum. Folders of other programs have no
/// checksums; their files are taken as they are.
pub fn verify(path: &Path, mut file: &File) -> Result<()> {
    let (folder, name) = split(path);
    let Some(expected) = load(folder)?.remove(&name) else { return Ok(()) };
    let (mut hasher, mut piece) = (crc32fast::Hasher::new(), vec![0; PIECE]);
    loop {
        match file.read(&mut piece).map_err(|e| Error::io("read", path, e))? {
            0 => break,
            n => hasher.update(&piece[..n]),
        }
    }
    let found = format!("{:08x}", hasher.finalize());
    if found == expected {
        return Ok(());
    }
    Err(Error::failed(format!(
        "{}: checksum {found}, but {NAME} says {expected}: the file is damaged; use another checkpoint (or delete {NAME} if the \
         file was replaced on purpose)",
        path.display()
    )))
}
