//! What a record of JSON is: one object, which every command asks here.

use super::json::{Scanner, Step, is_space};

/// Whether `record` is exactly one JSON object in UTF-8, with white space around it or without; else the offset of the first
/// byte that no object can have there (the length where the text only ends too early) and the reason.
pub fn check_object(record: &[u8]) -> Result<(), (usize, String)> {
    let wrong = |at: usize, reason: &str| Err((at, reason.to_string()));
    let Some(start) = record.iter().position(|&byte| !is_space(byte)) else {
        return wrong(record.len(), "no JSON object");
    };
    if record[start] != b'{' {
        return wrong(start, "expected `{`");
    }
    let (text, foreign) = match std::str::from_utf8(record) {
        Ok(_) => (record, false),
        Err(error) => (&record[..error.valid_up_to()], true),
    };
    let end = match Scanner::new().push(&text[start..]) {
        Step::Broken(at, reason) => return wrong(start + at, reason),
        Step::More | Step::Array(_) if !foreign => return wrong(text.len(), "it ends before its last bracket"),
        Step::More | Step::Array(_) => text.len(),
        Step::End(length) => start + length,
    };
    match text[end..].iter().position(|&byte| !is_space(byte)) {
        Some(more) => wrong(end + more, "something follows the object"),
        None if foreign => wrong(text.len(), "invalid UTF-8"),
        None => Ok(()),
    }
}

/// The reason why `record` is not exactly one JSON object in UTF-8, as a sentence, and its column (from 1); `None` if it is one.
pub fn object_fault(record: &[u8]) -> Option<(u64, String)> {
    let (at, reason) = check_object(record).err()?;
    let found = match record.get(at) {
        Some(_) if record[..at].trim_ascii().is_empty() => {
            "expected a JSON object, found something that does not begin with {".to_string()
        }
        _ => format!("expected one whole JSON object, found broken JSON ({reason})"),
    };
    Some((at as u64 + 1, found))
}

#[cfg(test)]
mod tests {
    use super::super::json::DEEPEST;
    use super::*;

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
        assert_eq!(object_fault(nested(DEEPEST).as_bytes()), None);
        let (column, reason) = object_fault(nested(DEEPEST + 1).as_bytes()).unwrap();
        assert_eq!((column, reason.contains("127 levels")), (127 * 5 + 1, true));
    }

    #[test]
    fn an_object_is_utf8_and_alone() {
        assert_eq!(object_fault(b" {\"a\":\"\xc3\xa9\"} "), None);
        for (bad, column, reason) in [
            (&b"{\"a\":\"\xff\"}"[..], 7, "invalid UTF-8"),
            (b"{}\x0c", 3, "something follows"),
            (b"[1]", 1, "does not begin with {"),
            (b"{\"a\":}", 6, "expected a value"),
            (b"{}{}", 3, "something follows"),
            (b"{\"a\":1", 7, "before its last bracket"),
            (b"{\"x\":NaN}", 6, "expected a value"),
        ] {
            let fault = object_fault(bad).unwrap();
            assert!(fault.0 == column && fault.1.contains(reason), "{fault:?}");
        }
    }
}
