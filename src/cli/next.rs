//! What to do next: the last line that a command says, with a command to type.

use std::fmt::Display;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Says a command to type next, and what it is for: as a comment, so that the line can be pasted as a whole.
pub fn command(command: impl Display, why: &str) {
    tracing::info!("next: {command}  # {why}");
}

/// Says what to do next where that is no command.
pub fn step(what: impl Display) {
    tracing::info!("next: {what}");
}

/// A path as it is typed in a shell.
pub fn typed(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./+=:@%,-".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.into_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A name for a new folder here: this one, or with a number where something has it already.
pub fn fresh(name: &str) -> String {
    let numbered = (2..).map(|number| format!("{name}{number}"));
    std::iter::once(name.to_string()).chain(numbered).find(|name| !Path::new(name).exists()).unwrap_or_default()
}

/// Where results on standard output go.
pub enum Sink {
    File(PathBuf),
    /// Into another program, which goes on with them.
    Pipe,
    /// A terminal, or a place that keeps nothing.
    Screen,
}

/// Where standard output leads.
pub fn sink() -> Sink {
    let Ok(path) = std::fs::read_link("/proc/self/fd/1") else { return Sink::Screen };
    match std::fs::metadata("/proc/self/fd/1").map(|kind| kind.file_type()) {
        Ok(kind) if kind.is_file() => {
            let here = std::env::current_dir().unwrap_or_default();
            Sink::File(path.strip_prefix(here).map(PathBuf::from).unwrap_or(path))
        }
        Ok(kind) if kind.is_fifo() || kind.is_socket() => Sink::Pipe,
        _ => Sink::Screen,
    }
}
