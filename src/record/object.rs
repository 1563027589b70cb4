//! What a record of JSON is: one object, which every command asks here.

use super::json::{Scanner, Step, is_space};

/// The reason why `record` is not exactly one JSON object in UTF-8, and its column (from 1); `None` if it is one. White space
/// may stand around the object.
pub fn object_fault(record: &[u8]) -> Option<(u64, String)> {
    let fault = |at: usize, reason: &str| {
        Some((at as u64 + 1, format!("expected one whole JSON object, found broken JSON ({reason})")))
    };
    let start = record.iter().position(|&b| !is_space(b)).unwrap_or(0);
    if record.get(start) != Some(&b'{') {
        return Some((start as u64 + 1, "expected a JSON object, found something that does not begin with {".into()));
    }
    match Scanner::new().push(&record[start..]) {
        Step::Broken(at, reason) => fault(start + at, reason),
        Step::More | Step::Array(_) => fault(record.len(), "it ends before its last bracket"),
        Step::End(length) => {
            let rest = &record[start + length..];
            if let Some(more) = rest.iter().position(|&b| !is_space(b)) {
                return fault(start + length + more, "something follows the object");
            }
            let error = std::str::from_utf8(record).err()?;
            fault(error.valid_up_to(), "a byte that is not UTF-8")
        }
    }
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
        assert_eq!((column, reason.contains("128 levels")), (128 * 5 + 1, true));
    }

    #[test]
    fn an_object_is_utf8_and_alone() {
        assert_eq!(object_fault(b" {\"a\":\"\xc3\xa9\"} "), None);
        for (bad, column, reason) in [
            (&b"{\"a\":\"\xff\"}"[..], 7, "not UTF-8"),
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
