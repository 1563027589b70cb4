//! Small steps over the bytes of JSON.

use crate::Result;
use crate::ingest::collect::Collector;
use crate::ingest::window::Window;

pub(super) fn broken_json(why: &str) -> String {
    format!("expected one whole JSON object, found broken JSON ({why})")
}

pub(super) fn shown(byte: u8) -> String {
    if byte.is_ascii_graphic() { format!("'{}'", byte as char) } else { format!("byte 0x{byte:02x}") }
}

pub(super) fn fill(window: &mut Window, out: &Collector) -> Result<bool> {
    let line = window.line();
    window.fill().map_err(|e| out.read_error(line, e))
}

/// The first byte from offset `at` on that is no white space, which stays in the window.
pub(super) fn next_byte(window: &mut Window, mut at: usize, out: &Collector) -> Result<Option<u8>> {
    loop {
        let bytes = window.bytes();
        at += bytes[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0)).count();
        if at < bytes.len() {
            return Ok(Some(bytes[at]));
        }
        if !fill(window, out)? {
            return Ok(None);
        }
    }
}

/// The offset of the first line behind the first one that begins like a value.
pub(super) fn next_value(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).map(|end| end + 1).find(|&next| matches!(bytes.get(next), Some(b'{' | b'[')))
}

/// The text as one line: a kept record holds no newline.
pub(super) fn one_line(text: &[u8]) -> Vec<u8> {
    text.trim_ascii_end().iter().map(|&byte| if byte == b'\n' { b' ' } else { byte }).collect()
}

/// Writes a valid value without white space outside strings.
pub(super) fn compact(text: &[u8], to: &mut Vec<u8>) {
    to.clear();
    let (mut string, mut escape) = (false, false);
    for &byte in text {
        if string {
            string = escape || byte != b'"';
            escape = !escape && byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            continue;
        } else {
            string = byte == b'"';
        }
        to.push(byte);
    }
}
