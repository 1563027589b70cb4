//! Logs for tests: the real ones, where `build.rs` found them, and a sample of them that is always there (`tests/data/`).

use std::path::{Path, PathBuf};

/// A file of the real logs; tests that ask for it are ignored where these are absent.
pub fn real(name: &str) -> PathBuf {
    // Absent where the build found none.
    let folder: Option<&str> = option_env!("LOGWRIGHT_REAL_LOGS");
    Path::new(folder.expect("these tests are ignored where the real logs are absent")).join(name)
}

/// A file of the sample.
pub fn sampled(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The content of a file, unpacked if its name says that it is packed.
pub fn content(path: &Path) -> Vec<u8> {
    let packed = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    if path.extension().is_none_or(|suffix| suffix != "gz") {
        return packed;
    }
    let mut content = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(&packed[..]);
    std::io::Read::read_to_end(&mut decoder, &mut content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    content
}
