//! Text that grows token by token: what of it is certain, and where a stop sequence ends it.

use std::str;

/// Holds back what a later token may still change: a character whose bytes are not all there, and the beginning of a stop
/// sequence.
#[derive(Default)]
pub struct CertainText {
    stop: Vec<String>,
    held: Vec<u8>,
    /// Number of bytes before those that are held.
    passed: usize,
}

impl CertainText {
    pub fn new(stop: Vec<String>) -> Self {
        CertainText { stop, ..CertainText::default() }
    }

    /// Takes in more text, and returns what has become certain; and the number of bytes before a stop sequence, if the text now
    /// contains one. What is not UTF-8 becomes replacement characters.
    pub fn push(&mut self, bytes: &[u8]) -> (String, Option<usize>) {
        self.held.extend_from_slice(bytes);
        if let Some(at) = self.stop.iter().filter_map(|stop| memchr::memmem::find(&self.held, stop.as_bytes())).min() {
            self.held.truncate(at);
            let end = self.passed + at;
            return (self.rest(), Some(end));
        }
        let certain = self.held.len() - self.open_stop();
        let certain = certain - open_character(&self.held[..certain]);
        self.passed += certain;
        let text: Vec<u8> = self.held.drain(..certain).collect();
        (String::from_utf8_lossy(&text).into_owned(), None)
    }

    /// What is held back, once nothing follows.
    pub fn rest(&mut self) -> String {
        self.passed += self.held.len();
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }

    /// The length of the longest end of the text that begins a stop sequence.
    fn open_stop(&self) -> usize {
        let open = |stop: &String| {
            let longest = self.held.len().min(stop.len().saturating_sub(1));
            (1..=longest).rev().find(|&length| self.held.ends_with(&stop.as_bytes()[..length])).unwrap_or(0)
        };
        self.stop.iter().map(open).max().unwrap_or(0)
    }
}

/// The length of the last character's bytes if further ones may follow, else 0.
fn open_character(text: &[u8]) -> usize {
    let last = text.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    match str::from_utf8(last) {
        Err(e) if e.error_len().is_none() => last.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The pieces of a text that comes in these parts, and where a stop sequence ended it.
    fn pieces(stop: &[&str], parts: &[&[u8]]) -> (Vec<String>, Option<usize>) {
        let mut text = CertainText::new(stop.iter().map(|stop| stop.to_string()).collect());
        let mut pieces = Vec::new();
        for part in parts {
            let (piece, end) = text.push(part);
            pieces.push(piece);
            if end.is_some() {
                return (pieces, end);
            }
        }
        pieces.push(text.rest());
        (pieces, None)
    }

    #[test]
    fn a_character_comes_when_it_is_whole() {
        let euro = "€".as_bytes();
        assert_eq!(pieces(&[], &[b"a", &euro[..1], &euro[1..2], &euro[2..], b"b"]).0, ["a", "", "", "€", "b", ""]);
        assert_eq!(pieces(&[], &[&euro[..2], b"b"]).0, ["", "\u{fffd}b", ""]);
        assert_eq!(pieces(&[], &[&euro[..2]]).0, ["", "\u{fffd}"]);
        assert_eq!(pieces(&[], &[b"\xff"]).0, ["\u{fffd}", ""]);
    }

    #[test]
    fn a_stop_sequence_may_span_tokens_and_is_left_out() {
        assert_eq!(pieces(&["\",\""], &[b"ab\"", b",", b"\"x"]), (vec!["ab".into(), "".into(), "".into()], Some(2)));
        // What only looked like one comes late, not never; and the earliest of several ends the text.
        assert_eq!(pieces(&["aab"], &[b"a", b"a", b"a", b"c"]).0, ["", "", "a", "aac", ""]);
        assert_eq!(pieces(&["d", "bc"], &[b"abcd"]), (vec!["a".into()], Some(1)));
        assert_eq!(pieces(&["bcd", "c"], &[b"ab", b"c"]), (vec!["a".into(), "b".into()], Some(2)));
        assert_eq!(pieces(&["ab"], &[b"a"]).0, ["", "a"]);
    }

    proptest! {
        #[test]
        fn pieces_join_to_the_whole_text(
            text in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'a'), Just(0xe2), Just(0x82), Just(0xac)], 0..40),
            cuts in proptest::collection::vec(0usize..40, 0..10),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            let (found, end) = pieces(&["aa\u{20ac}"], &parts);
            let expected = memchr::memmem::find(&text, "aa\u{20ac}".as_bytes());
            prop_assert_eq!(end, expected);
            prop_assert_eq!(found.concat(), String::from_utf8_lossy(&text[..expected.unwrap_or(text.len())]));
        }
    }
}
