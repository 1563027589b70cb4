//! What a person looks at after a run: the loss curve, the page, and the verdicts on generated records.

mod curve;
mod page;
pub mod parse;

pub use curve::{LossCurve, loss_curve};
pub use page::{DemoReport, Sample, page};
pub use parse::{Form, Summary, Verdict, verdict};

use crate::{Error, Result};
use std::io::Write;
use std::path::Path;

/// Puts `text` under the name `path`, whole or not at all: a temporary file beside it, then a rename.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |e| Error::io("write", path, e);
    let mut file = tempfile::Builder::new().permissions(readable()).tempfile_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

/// Temporary files are private by default; a report is for others too (the umask still applies).
fn readable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}
