//! Syslog over TCP as a collector has stored it: each message after its length in bytes (RFC 6587, octet counting).

use super::collect::{Collector, Place};
use super::window::Window;
use crate::Result;

/// The most digits of a length.
const DIGITS: usize = 7;

/// The length of the message at the beginning of `text` and the number of bytes before the message; `None` if no message
/// begins here. A length and a priority begin each: `85 <165>1 ...`.
pub(super) fn frame(text: &[u8]) -> Option<(usize, usize)> {
    let digits = text.iter().take(DIGITS).take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    let priority = rest.strip_prefix(b" <")?;
    let length: usize = std::str::from_utf8(number).ok()?.parse().ok().filter(|&length| length > 4)?;
    let end = priority.iter().take(4).position(|&byte| byte == b'>')?;
    (end > 0 && number[0] != b'0' && priority[..end].iter().all(u8::is_ascii_digit)).then_some((length, digits + 1))
}

/// Reads messages to the end. A newline inside a message becomes the two characters `\n`; one behind it is left out.
pub(super) fn read(window: &mut Window, out: &mut Collector) -> Result<()> {
    let limit = out.options.max_record_bytes;
    let mut record = Vec::new();
    while more(window, DIGITS + 8, out)? {
        let spaces = window.bytes().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if spaces > 0 {
            window.advance(spaces);
            continue;
        }
        let (line, column) = window.place(0);
        let Some((length, before)) = frame(window.bytes()) else {
            bad_rest(window, "expected the length of a message and its priority, as in 85 <165>, found neither", out)?;
            continue;
        };
        if length > limit {
            out.too_long(line, window.bytes())?;
            window.skip_line().map_err(|e| out.read_error(line, e))?;
            continue;
        }
        while window.bytes().len() < before + length && window.fill().map_err(|e| out.read_error(line, e))? {}
        if window.bytes().len() < before + length {
            let fault = format!("expected a message of {length} bytes, found the end of the file before its last one");
            bad_rest(window, &fault, out)?;
            continue;
        }
        record.clear();
        for &byte in window.bytes()[before..before + length].trim_ascii_end() {
            match byte {
                b'\n' => record.extend_from_slice(b"\\n"),
                byte => record.push(byte),
            }
        }
        let end = Some(window.offset() + (before + length) as u64);
        out.record(&record, Place { line, column, end })?;
        window.advance(before + length);
    }
    Ok(())
}

/// Reads until the window holds a number of bytes, a whole message, or all. Returns false at the end.
fn more(window: &mut Window, bytes: usize, out: &Collector) -> Result<bool> {
    while window.bytes().len() < bytes
        && frame(window.bytes()).is_none()
        && window.fill().map_err(|e| out.read_error(window.line(), e))?
    {}
    Ok(!window.bytes().is_empty())
}

fn bad_rest(window: &mut Window, fault: &str, out: &mut Collector) -> Result<()> {
    let (line, column) = window.place(0);
    let length = memchr::memchr(b'\n', window.bytes()).unwrap_or(window.bytes().len());
    let end = Some(window.offset() + length as u64);
    out.bad(Place { line, column, end }, fault, &window.bytes()[..length])?;
    window.skip_line().map_err(|e| out.read_error(line, e))
}

#[cfg(test)]
mod tests {
    use super::frame;

    #[test]
    fn a_message_has_a_length_and_a_priority() {
        assert_eq!(frame(b"85 <165>1 x"), Some((85, 3)));
        for text in ["85 x", "<165>1", "085 <165>", "85  <165>", "85 <>", "85 <16a>", "85 <16", "99999999 <1>", "", "1"]
        {
            assert_eq!(frame(text.as_bytes()), None, "{text}");
        }
    }
}
