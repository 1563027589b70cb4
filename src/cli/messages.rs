//! Messages on stderr, which never end work and never control the terminal.

use indicatif::{ProgressBar, WeakProgressBar};
use logwright::report::visible;
use std::io::{self, Write, stderr};
use std::sync::{Mutex, PoisonError};

/// The progress bar at the bottom of the terminal.
static BAR: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

/// From here on, messages and what [`above_bar`] writes appear above this bar.
pub fn stay_above(bar: &ProgressBar) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.downgrade());
}

/// Writes something to the terminal without the progress bar in between. It may not be nested.
pub fn above_bar<T>(write: impl FnOnce() -> T) -> T {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(WeakProgressBar::upgrade);
    match bar.filter(|bar| !bar.is_hidden() && !bar.is_finished()) {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Writes messages to stderr. That one cannot be written (a full disk, a reader that has left) ends no work and is no error.
#[derive(Clone, Copy)]
pub struct Messages {
    is_text: bool,
}

impl Messages {
    /// For people: control characters, as the name of a file may have them, are shown as pictures.
    pub const TEXT: Messages = Messages { is_text: true };
    /// JSON, which has its own way to write control characters.
    pub const JSON: Messages = Messages { is_text: false };
}

impl Write for Messages {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        let _ = above_bar(|| match self.is_text {
            true => stderr().lock().write_all(printable(&String::from_utf8_lossy(message)).as_bytes()),
            false => stderr().lock().write_all(message),
        });
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says a line before there is a logger.
pub fn say(line: &str) {
    let mut messages = Messages::TEXT;
    let _ = messages.write_all(line.as_bytes());
}

/// The message without control characters but the colours, which the formatter of messages puts round texts in which it has
/// replaced every escape character. Lines after the first are indented, so that a name cannot look like a message of its own.
fn printable(message: &str) -> String {
    let shown = |line: &str| line.split('\x1b').map(|part| visible(part.as_bytes())).collect::<Vec<_>>().join("\x1b");
    let lines = message.strip_suffix('\n').unwrap_or(message).split('\n');
    lines.map(shown).collect::<Vec<_>>().join("\n  ") + "\n"
}
