//! Where a command may write: not over what it reads, not over what is no plain file, not into a folder that is replaced whole.
//! That something cannot be written is said before the work, not after it.

use logwright::{Error, Result, files};
use rustix::fs::Access;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Refuses the output file of a flag if its folder does not exist or may not be written, and as [`check_replaced`] does.
pub fn check_file(flag: &str, output: &Path, inputs: &[&Path]) -> Result<()> {
    check_replaced(flag, output, inputs)?;
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let folder = folder.display();
        return Err(Error::usage(format!("{flag}: the folder {folder} does not exist; create it first")));
    }
    check_writable(flag, folder)
}

/// Refuses a folder that exists and in which this user may not create files.
pub fn check_writable(flag: &str, folder: &Path) -> Result<()> {
    let access = rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK);
    access.map_err(|e| Error::failed(format!("{flag}: {}", files::write_error(folder, e.into()))))
}

/// Refuses the output file of a flag if it exists and is no plain file, or is among what the command reads: `inputs` are
/// files, folders with everything in them, patterns, or `-`.
pub fn check_replaced(flag: &str, output: &Path, inputs: &[&Path]) -> Result<()> {
    // A file that does not exist is nobody's input, and where it cannot be created, writing says why.
    let Ok(meta) = fs::metadata(output) else { return Ok(()) };
    let refused =
        |found: String| Err(Error::usage(format!("{flag} {}: {found}; give it another name", output.display())));
    if !meta.is_file() {
        return refused("expected the name of a file to create or replace, found something else".into());
    }
    match inputs.iter().find(|input| reads(input, output)) {
        Some(input) if input.is_dir() => {
            refused(format!("this file is in {}, which the command reads", input.display()))
        }
        Some(_) => refused("the command reads this file and would replace it".into()),
        None => Ok(()),
    }
}

/// Refuses an output that is, or would be, in one of these folders of other flags, which are replaced as a whole.
pub fn check_outside(flag: &str, output: &Path, folders: &[(&str, &Path)]) -> Result<()> {
    match folders.iter().find(|(_, folder)| lies_in(output, folder)) {
        None => Ok(()),
        Some((other, folder)) => Err(Error::usage(format!(
            "{flag} {}: it lies in {} ({other}), which is replaced as a whole when it is made again; give it another name",
            output.display(),
            folder.display()
        ))),
    }
}

/// Whether a file is, or would be, in the folder or the folder itself; either may not exist yet.
pub fn lies_in(file: &Path, folder: &Path) -> bool {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = file.file_name().map_or_else(|| real(file), |name| real(parent).join(name));
    file.starts_with(real(folder))
}

/// The path without links and dots, as far as it exists.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or(path.to_path_buf())
}

fn reads(input: &Path, output: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    match identity(input) {
        Some(found) => Some(found) == identity(output) || input.is_dir() && real(output).starts_with(real(input)),
        None => {
            let pattern = real(input).to_str().and_then(|pattern| glob::Pattern::new(pattern).ok());
            pattern.is_some_and(|pattern| pattern.matches_path(&real(output)))
        }
    }
}
