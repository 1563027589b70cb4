//! The files that rotation has made of a log: those of its folder whose names begin with its name.

use super::position::{FileId, id};
use std::cmp::Reverse;
use std::fs::{self, File, Metadata};
use std::path::{Path, PathBuf};

/// Ends of the names of files that hold compressed copies.
const COMPRESSED: [&str; 5] = [".gz", ".zst", ".xz", ".bz2", ".lz4"];

/// A rotated file that can be read as it is.
pub(super) struct Rotated {
    pub path: PathBuf,
    pub meta: Metadata,
}

impl Rotated {
    pub fn id(&self) -> FileId {
        id(&self.meta)
    }

    pub fn open(&self) -> Option<File> {
        File::open(&self.path).ok()
    }
}

/// The rotated files of a log (`app.log.1`, `app.log-20260101`, `app.log.old`), the one that was written to longest ago first.
pub(super) fn rotated(path: &Path) -> Vec<Rotated> {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let mut found = Vec::new();
    // A folder that cannot be listed has no rotated files that could be read.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, own) = (entry.path(), entry.file_name());
        let suffix = own.as_encoded_bytes().strip_prefix(name).unwrap_or_default();
        let numbered = suffix.iter().any(u8::is_ascii_digit) || suffix == b".old";
        let compressed = COMPRESSED.iter().any(|end| suffix.ends_with(end.as_bytes()));
        if matches!(suffix.first(), Some(b'.' | b'-' | b'_'))
            && numbered
            && !compressed
            && let Ok(meta) = entry.metadata()
            && meta.is_file()
        {
            found.push(Rotated { path, meta });
        }
    }
    found.sort_by_cached_key(|file| (file.meta.modified().ok(), Reverse(number(&file.path)), file.path.clone()));
    found
}

/// The number at the end of a rotated name, which grows with age; 0 for a date. Times alone do not tell: two files that are
/// written within a few milliseconds have the same.
fn number(path: &Path) -> u32 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    if digits < 6 { name[name.len() - digits..].parse().unwrap_or(0) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_come_in_their_order() {
        let home = tempfile::tempdir().unwrap();
        let log = home.path().join("app.log");
        let time = std::time::SystemTime::now();
        for name in [
            "app.log",
            "app.log.1",
            "app.log.2",
            "app.log.10",
            "app.log.3.gz",
            "app.log.lock",
            "other.log.1",
            "app.logs.1",
        ] {
            fs::write(home.path().join(name), "x").unwrap();
            File::options().write(true).open(home.path().join(name)).unwrap().set_modified(time).unwrap();
        }
        let names = || {
            rotated(&log)
                .iter()
                .map(|file| file.path.file_name().unwrap().to_str().unwrap().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(), ["app.log.10", "app.log.2", "app.log.1"]);
        let old = home.path().join("app.log-20260101");
        fs::write(&old, "x").unwrap();
        File::options().write(true).open(&old).unwrap().set_modified(time - std::time::Duration::from_secs(9)).unwrap();
        assert_eq!(names()[0], "app.log-20260101");
    }
}
